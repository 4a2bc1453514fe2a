//! Writes the demo registry into the folder that is given; Trunk calls it after each build.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("overtag-demo: no folder was given: overtag-demo FOLDER");
        return ExitCode::from(2);
    };
    for (path, content) in overtag::engine::demo::files() {
        let file = folder.join(path);
        let parent = file.parent().unwrap_or(&folder);
        if let Err(error) = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&file, content)) {
            eprintln!("overtag-demo: {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

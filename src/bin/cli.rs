//! The command line `overtag`.

fn main() -> std::process::ExitCode {
    overtag::cli::main()
}

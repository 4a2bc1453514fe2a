//! Output files on real file systems: full, read-only, mounted over, under SIGKILL; links, pipes, descriptors. To mount, it needs
//! root, or user namespaces.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const OVERTAG: &str = env!("CARGO_BIN_EXE_overtag");

/// Runs a shell script in a new folder, `overtag` on its path; returns exit status, standard output and standard error.
fn run(folder: &Path, script: &str) -> (Option<i32>, String, String) {
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", Path::new(OVERTAG).parent().expect("a folder").display());
    let done = Command::new("bash")
        .args(["-c", script])
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("SOURCE_DATE_EPOCH", "1500000000")
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

/// As [`run`], on a tmpfs of its own with these mount options, in a mount namespace that ends with the script.
fn run_on_tmpfs(options: &str, script: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let user = if fs::metadata("/proc/self").expect("proc").uid() == 0 { "" } else { "r" };
    let inner = format!("mount -t tmpfs -o {options} tmpfs . && cd \"$PWD\" || exit 99\n{script}");
    fs::write(folder.path().join("script"), inner).expect("written");
    let (status, out, err) = run(folder.path(), &format!("exec unshare -{user}m bash script"));
    assert_ne!(status, Some(99), "this test needs leave to mount a tmpfs, as root or in a user namespace: {err}");
    (status, out, err)
}

/// The names in a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn full_disk_leaves_both_files_unchanged() {
    let script = "echo old >a.yaml; echo old >b.yaml
        head -c 100000 /dev/zero >fill 2>/dev/null; rm -f fill; head -c 20000 /dev/zero >fill
        overtag prepare --output-images-file a.yaml --output-env-file b.yaml; echo \"exit $?\"; cat a.yaml b.yaml; ls -A";
    let (_, out, err) = run_on_tmpfs("size=40k", script);
    assert_eq!(out, "exit 2\nold\nold\na.yaml\nb.yaml\nfill\n", "{err}");
    assert!(err.contains("No space left") && err.contains("nothing was replaced"), "{err}");
}

#[test]
fn read_only_disk_leaves_files_unchanged() {
    let script = "echo old >a.yaml; echo old >b.yaml; mount -o remount,ro .
        overtag prepare --output-images-file a.yaml --output-env-file b.yaml; echo \"exit $?\"; cat a.yaml b.yaml; ls -A";
    let (_, out, err) = run_on_tmpfs("size=1m", script);
    assert_eq!(out, "exit 2\nold\nold\na.yaml\nb.yaml\n", "{err}");
    assert!(err.contains("Read-only"), "{err}");
}

#[test]
fn mounted_output_file_is_refused() {
    // The other file stays as it was.
    // Its name needs escapes in mountinfo.
    let script = r#"echo old >a.yaml; echo inside >'b c.yaml'; echo outside >outside; mount --bind outside 'b c.yaml'
        overtag prepare --output-images-file a.yaml --output-env-file 'b c.yaml'; echo "exit $?"
        cat a.yaml 'b c.yaml'; ls -A"#;
    let (_, out, err) = run_on_tmpfs("size=1m", script);
    assert_eq!(out, "exit 2\nold\noutside\na.yaml\nb c.yaml\noutside\n", "{err}");
    assert!(err.contains("a mount point") && err.contains("b c.yaml"), "{err}");
}

#[test]
fn existing_mode_and_owner_are_kept() {
    // A new file follows the umask.
    let script =
        "umask 027; echo old >a.yaml; chmod 640 a.yaml; chown 12:34 a.yaml || chmod 604 a.yaml; touch b.yaml; chmod 600 b.yaml
        stat -c '%a %u:%g' a.yaml b.yaml >before
        overtag prepare --output-images-file a.yaml --output-env-file b.yaml 2>/dev/null; echo \"exit $?\"
        stat -c '%a %u:%g' a.yaml b.yaml | diff before - && grep -c '^# overcloud' a.yaml b.yaml
        overtag prepare --output-env-file new.yaml 2>/dev/null; stat -c %a new.yaml";
    let (_, out, err) = run_on_tmpfs("size=1m", script);
    assert_eq!(out, "exit 0\na.yaml:1\nb.yaml:1\n640\n", "{err}");
}

#[test]
fn two_spellings_of_one_path_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let prepare = "mkdir -p d e; ln -sfn d link; echo old >there; ln -f there hard; ln -sf there soft; ln -sf later dangling; \
                   ln -sf round1 round2; ln -sf round2 round1; mkfifo -m 600 pipe 2>/dev/null; true";
    assert_eq!(run(folder.path(), prepare).0, Some(0));
    for (a, b, status) in [
        ("x", "./x", 2),
        ("x", "d/../x", 2),
        ("d/x", "link/x", 2),
        ("there", "soft", 2),
        ("there", "hard", 2),
        ("later", "dangling", 2),
        ("X.yaml", "x.yaml", 2),
        ("d/x", "e/x", 0),
        ("there", "x", 0),
        ("/dev/null", "/dev/null", 0),
        ("d", "x", 2),
        ("x/", "y", 2),
        ("no/such/folder", "y", 2),
        ("round1", "y", 2),
        ("/dev/full", "y", 2),
    ] {
        let script = format!("rm -f x y; overtag prepare --output-images-file '{a}' --output-env-file '{b}'");
        let (is, _, err) = run(folder.path(), &script);
        assert_eq!(is, Some(status), "{a} and {b}: {err}");
        if status == 2 {
            assert!(!folder.path().join("y").exists() && !folder.path().join("X.yaml").exists(), "{a} and {b}");
            assert!(err.starts_with("overtag: ") || err.contains("\novertag: "), "{err}");
        }
    }
    assert!(names(folder.path()).iter().all(|name| !name.contains(".overtag-")), "{:?}", names(folder.path()));
    // The shell has already emptied the file that standard output goes to.
    let (status, _, err) = run(folder.path(), "overtag prepare --output-images-file x >x");
    assert_eq!(status, Some(2), "{err}");
}

#[test]
fn open_descriptors_and_pipes_are_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let both = "grep -c '^container_images:' out; grep -c '^parameter_defaults:' out";
    for (script, want) in [
        ("overtag prepare --output-images-file /dev/stdout >out", "1\n1\n"),
        ("overtag prepare --output-images-file /dev/stdout --output-env-file /dev/stdout >out", "1\n1\n"),
        ("overtag prepare --output-images-file /dev/fd/3 --output-env-file /dev/fd/3 3>out", "1\n1\n"),
        (
            "exec 3>out; overtag prepare --output-images-file /proc/self/fd/3 --output-env-file /dev/fd/3; echo after >&3; grep -c after out",
            "1\n1\n1\n",
        ),
        ("echo kept >out; overtag prepare --output-images-file /dev/stderr >>out 2>>out; grep -c kept out", "1\n1\n1\n"),
        (
            "ln -s /dev/fd/1 link; overtag prepare --output-images-file link --output-env-file link | cat >out; readlink link",
            "/dev/fd/1\n1\n1\n",
        ),
        (
            "mkfifo pipe; cat pipe >out & overtag prepare --output-images-file pipe --output-env-file /dev/null; wait; echo 'parameter_defaults:' >>out",
            "1\n1\n",
        ),
        ("overtag prepare --output-images-file >(cat >>out) --output-env-file >(cat >>out); sleep 0.3", "1\n1\n"),
    ] {
        let (status, out, err) = run(folder.path(), &format!("rm -f out link pipe; {script}; {both}"));
        assert_eq!((status, out.as_str()), (Some(0), want), "{script}: {err}");
    }
    // Two descriptors with their own positions: the second text would overwrite the first.
    let both = "overtag prepare --output-images-file /dev/fd/3 --output-env-file /dev/fd/4";
    let (status, _, err) = run(folder.path(), &format!("{both} 3>two 4>two"));
    assert_eq!(status, Some(2), "{err}");
    for harmless in ["3>two 4>&3", "3>>two 4>>two", ">two 3>&1 4>&1"] {
        let (_, out, err) = run(folder.path(), &format!("rm -f two; {both} {harmless}; grep -c '^[cp].*:$' two"));
        assert_eq!(out, "2\n", "{harmless}: {err}");
    }
    // `/proc/thread-self/fd` works too.
    let (_, out, err) =
        run(folder.path(), "echo kept >two; overtag prepare --output-env-file /proc/thread-self/fd/1 >>two; grep -c kept two");
    assert_eq!(out, "1\n", "{err}");
    // If the reader goes away, that is not an error.
    let (_, out, err) = run(folder.path(), "overtag prepare | head -n 1 | cut -c 1-3; echo ${PIPESTATUS[0]}");
    assert_eq!(out, "# o\n0\n", "{err}");
}

#[test]
fn output_symlink_stays_a_symlink() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "mkdir d; ln -s d/target a; ln -s a b; overtag prepare --output-env-file b && readlink a b && head -c 19 d/target \
                  && overtag prepare --output-env-file b && readlink a b && ls -A d";
    let (status, out, err) = run(folder.path(), script);
    assert_eq!((status, out.as_str()), (Some(0), "d/target\na\n# overcloud_images.d/target\na\ntarget\n"), "{err}");
}

#[test]
fn killed_run_leftovers_are_removed() {
    // A locked file, a symbolic link and the files of other outputs stay.
    let folder = tempfile::tempdir().expect("a folder");
    let script =
        "echo victim >victim; ln -s victim .a.yaml.overtag-link; touch .a.yaml.overtag-old .b.yaml.overtag-other .a.yaml.other
        exec 9>.a.yaml.overtag-busy; flock -x 9; overtag prepare --output-env-file a.yaml; cat victim; ls -A";
    let (_, out, err) = run(folder.path(), script);
    let want = "victim\n.a.yaml.other\n.a.yaml.overtag-busy\n.a.yaml.overtag-link\n.b.yaml.overtag-other\na.yaml\nvictim\n";
    assert_eq!(out, want, "{err}");
}

#[test]
fn unreadable_history_is_never_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let snapshot = |more: &str| format!("overtag snapshot --release demo {more}");
    assert_eq!(run(folder.path(), &snapshot("--since s.json --output s.json")).0, Some(0), "the first has none before it");
    let good = fs::read_to_string(folder.path().join("s.json")).expect("it is there");
    let later = good.replacen("\"overtag_snapshot\":1", "\"overtag_snapshot\":2", 1);
    for (bad, word) in [
        (later.as_str(), "version 2"),
        (&good[..good.len() / 2], "not a snapshot"),
        ("", "not a snapshot"),
        ("\u{0}", "not a snapshot"),
    ] {
        fs::write(folder.path().join("s.json"), bad).expect("written");
        for to in ["s.json", "./s.json"] {
            let (status, _, err) = run(folder.path(), &snapshot(&format!("--since s.json --output {to}")));
            assert_eq!(status, Some(2), "{err}");
            assert!(err.contains(word) && err.contains("not overwritten"), "{err}");
            assert_eq!(fs::read_to_string(folder.path().join("s.json")).expect("it is there"), bad);
        }
        // Writing to another file is allowed.
        let (status, _, err) = run(folder.path(), &snapshot("--since s.json --output other.json"));
        assert!(status == Some(0) && err.contains("a new history is started"), "{err}");
    }
    // The shell has already emptied the file: the history is lost, and that is reported.
    let (status, _, err) = run(folder.path(), &snapshot("--since s.json >s.json"));
    assert!(status == Some(2) && err.contains("not overwritten"), "{err}");
}

#[test]
fn sixty_kills_leave_no_partial_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let entries: String =
        (0..4000).map(|i| format!("- imagename: \"{{{{namespace}}}}/i{i}:{{{{tag}}}}\"\n  params: [P{i}]\n")).collect();
    fs::write(folder.path().join("t.j2"), format!("container_images_template:\n{entries}")).expect("written");
    let start = |tag: &str| {
        Command::new(OVERTAG)
            .args(["prepare", "--no-registry", "--template-file", "t.j2", "--tag", tag])
            .args(["--output-images-file", "a.yaml", "--output-env-file", "b.yaml"])
            .current_dir(folder.path())
            .env("SOURCE_DATE_EPOCH", "1500000000")
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs")
    };
    let read = || ["a.yaml", "b.yaml"].map(|name| fs::read(folder.path().join(name)).unwrap_or_default());
    let mut whole = Vec::new();
    let mut took = Duration::ZERO;
    for tag in ["one", "two"] {
        let started = Instant::now();
        assert!(start(tag).wait().expect("it ends").success());
        took = took.max(started.elapsed());
        whole.push(read());
    }
    let (mut killed, mut left) = (0, 0);
    for i in 0..60_u32 {
        let mut child = start(if i % 2 == 0 { "one" } else { "two" });
        // Most of the time goes to rendering; the files are written at the end.
        std::thread::sleep(took.mul_f64(if i < 10 { f64::from(i) / 10.0 } else { 0.5 + f64::from(i) / 100.0 }));
        child.kill().expect("killed or gone");
        killed += u32::from(!child.wait().expect("it ends").success());
        for (i, file) in read().into_iter().enumerate() {
            assert!(whole.iter().any(|whole| whole[i] == file), "file {i} is half-written");
        }
        left = left.max(names(folder.path()).len());
    }
    println!("{killed} of 60 runs were killed; at most {} files were left behind", left.saturating_sub(3));
    assert!(killed > 0, "no run was killed");
    assert!(start("one").wait().expect("it ends").success());
    assert_eq!(names(folder.path()), ["a.yaml", "b.yaml", "t.j2"].map(str::to_owned).into());
}

#[test]
fn active_temporary_files_are_kept() {
    // The first run waits for a reader of the pipe, its temporary file for `a.yaml` beside the target; the second cleans up before it writes.
    let folder = tempfile::tempdir().expect("a folder");
    let script = "mkfifo pipe
        overtag prepare --output-images-file a.yaml --output-env-file pipe & first=$!
        for _ in {1..200}; do ls -A | grep -q '^.a.yaml.overtag-' && break; sleep 0.05; done
        overtag prepare --output-images-file a.yaml >/dev/null; echo \"second $?\" >&2
        cat pipe >/dev/null; wait $first; echo \"first $?\" >&2; ls -A";
    let (_, out, err) = run(folder.path(), &format!("{script} | tail -n 2"));
    assert!(err.contains("second 0\n") && err.contains("first 0\n"), "{err}");
    assert_eq!(out, "a.yaml\npipe\n", "{err}");
}

//! The page `overtag-web`.

fn main() {
    #[cfg(target_arch = "wasm32")]
    overtag::app::main();
}

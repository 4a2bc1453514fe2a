//! A real browser: headless Chromium, driven through Debian's `chromedriver`.
//!
//! Elements are found as a person finds them, by role and accessible name, and
//! it is the browser's own accessibility tree that is asked. Whatever is looked
//! for is waited for, up to [`PATIENCE`]; nothing waits for a fixed time. A
//! panic says what the page showed and what its console said.
//!
//! The protocol is spoken with `ureq`, which the project has anyway: fantoccini
//! would bring an async runtime and hyper, for a dozen JSON calls.

use super::process::Guarded;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long an element or a download is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The pace of looking again.
const PACE: Duration = Duration::from_millis(15);

/// A running chromedriver; ended, with all its browsers, on drop.
pub struct Browser {
    driver: Arc<Driver>,
}

struct Driver {
    url: String,
    agent: ureq::Agent,
    _process: Guarded,
}

/// How a browser is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size of the page in CSS pixels, exactly (360 wide is possible).
    pub window: (u32, u32),
    /// Device pixels to a CSS pixel: 2 with half the window is a zoom of 200 %.
    pub scale: f64,
    /// Whether the person prefers dark colours (`prefers-color-scheme`; light, if not).
    pub dark: bool,
    /// Whether the person prefers reduced motion (`prefers-reduced-motion`).
    pub reduced_motion: bool,
    /// `MAP registry.example 127.0.0.1`, for names that no resolver knows.
    pub host_resolver_rules: Option<String>,
    /// More flags of Chromium.
    pub args: Vec<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            window: (1280, 900),
            scale: 1.0,
            dark: false,
            reduced_motion: false,
            host_resolver_rules: None,
            args: Vec::new(),
        }
    }
}

impl Browser {
    /// Starts chromedriver on a free port.
    #[track_caller]
    pub fn start() -> Browser {
        let (process, port) = Guarded::spawn("chromedriver", &["--port=0"], "chromium-driver", Duration::from_secs(30), |line| {
            let (_, rest) = line.split_once("started successfully on port ")?;
            rest.trim_end_matches('.').parse::<u16>().ok()
        });
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(120)))
            .build();
        let url = format!("http://127.0.0.1:{port}");
        Browser { driver: Arc::new(Driver { url, agent: config.into(), _process: process }) }
    }

    /// Opens a browser of its own, with an empty profile and one blank page.
    #[track_caller]
    pub fn page(&self, options: &Options) -> Page {
        let folder = TempDir::with_prefix("test-browser-").unwrap_or_else(|e| panic!("no temporary folder: {e}"));
        let (width, height) = options.window;
        let mut args = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--no-first-run".into(),
            // Containers often have a small /dev/shm.
            "--disable-dev-shm-usage".into(),
            // Names that only the resolver rules know must not go to a proxy.
            "--no-proxy-server".into(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", folder.path().join("profile").display()),
        ];
        if let Some(rules) = &options.host_resolver_rules {
            args.push(format!("--host-resolver-rules={rules}"));
        }
        args.extend(options.args.iter().cloned());
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": 60_000, "pageLoad": 60_000, "implicit": 0 },
            "unhandledPromptBehavior": "ignore",
        }}});
        let started = match self.driver.call("POST", "/session", &capabilities) {
            Ok(value) => value,
            Err(e) => panic!("no browser could be started (apt-get install chromium): {e}"),
        };
        let session = format!("/session/{}", started["sessionId"].as_str().unwrap_or_default());
        let page =
            Page { driver: Arc::clone(&self.driver), session, console: Mutex::default(), downloads: Mutex::new(0), folder };
        page.set_window(width, height, options.scale);
        page.prefer(&[
            ("prefers-color-scheme", if options.dark { "dark" } else { "light" }),
            ("prefers-reduced-motion", if options.reduced_motion { "reduce" } else { "no-preference" }),
        ]);
        page
    }
}

/// What chromedriver said instead of a value.
struct Refused {
    error: String,
    message: String,
}

impl Refused {
    /// Whether the page may only need a moment.
    fn is_transient(&self) -> bool {
        matches!(
            self.error.as_str(),
            "no such element"
                | "stale element reference"
                | "element click intercepted"
                | "element not interactable"
                | "detached shadow root"
                | "not yet"
        )
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // What follows the first line is chromedriver's own stack.
        let message = self.message.lines().next().unwrap_or("");
        match self.error.as_str() {
            "not yet" => f.write_str(message),
            error if message.starts_with(error) => f.write_str(message),
            error => write!(f, "{error}: {message}"),
        }
    }
}

fn not_yet(message: String) -> Refused {
    Refused { error: "not yet".into(), message }
}

impl Driver {
    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, Refused> {
        let url = format!("{}{path}", self.url);
        let answer = match method {
            "POST" => self.agent.post(&url).send_json(body),
            "DELETE" => self.agent.delete(&url).call(),
            _ => self.agent.get(&url).call(),
        };
        let lost =
            |e: ureq::Error| Refused { error: format!("chromedriver does not answer {method} {path}"), message: e.to_string() };
        let mut answer = answer.map_err(lost)?;
        let reader = answer.body_mut().with_config().limit(256 << 20);
        let mut value = reader.read_json::<Value>().map_err(lost)?["value"].take();
        match value["error"].as_str() {
            Some(error) if !answer.status().is_success() => {
                Err(Refused { error: error.to_owned(), message: value["message"].take().as_str().unwrap_or_default().to_owned() })
            }
            _ => Ok(value),
        }
    }
}

/// A browser with its one page; closed on drop.
pub struct Page {
    driver: Arc<Driver>,
    session: String,
    console: Mutex<Vec<Message>>,
    downloads: Mutex<usize>,
    folder: TempDir,
}

/// A line of the page's console, or what the browser itself wrote there.
#[derive(Clone, Debug)]
pub struct Message {
    /// `SEVERE` (errors, failed loads), `WARNING`, `INFO`, `DEBUG`.
    pub level: String,
    /// `console-api`, `javascript`, `network`, `security`, …
    pub source: String,
    /// What it says, with the place before it.
    pub text: String,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}: {}", self.level, self.source, self.text)
    }
}

/// A control as assistive technology sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Its role.
    pub role: String,
    /// Its accessible name.
    pub name: String,
    /// Its accessible description: `aria-describedby`, or the title. A disabled
    /// control says there why it is.
    pub description: String,
    /// The value of a field, the chosen entry of a list.
    pub value: String,
    /// Whether it is disabled (`aria-disabled` counts).
    pub disabled: bool,
    /// Whether it has the focus.
    pub focused: bool,
    /// Whether it is pressed, if it can be.
    pub pressed: Option<bool>,
    /// Whether it is checked or selected, if it can be.
    pub checked: Option<bool>,
    /// Whether what it opens is open, if it opens something.
    pub expanded: Option<bool>,
}

/// A rule of accessibility that the page breaks.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule's id.
    pub id: String,
    /// `minor`, `moderate`, `serious`, `critical`.
    pub impact: String,
    /// The rule in words.
    pub help: String,
    /// Each element that breaks it: selector, markup and what to do.
    pub nodes: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({}): {}\n  {}", self.id, self.impact, self.help, self.nodes.join("\n  "))
    }
}

/// The fields one can type into.
const FIELDS: [&str; 4] = ["textbox", "searchbox", "combobox", "spinbutton"];

impl Page {
    /// Goes to an address and returns when its `load` event has come.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.ok(self.post("/url", &json!({ "url": url })), &format!("could not open {url}"));
    }

    /// Reloads the page.
    #[track_caller]
    pub fn reload(&self) {
        self.ok(self.post("/refresh", &json!({})), "could not reload");
    }

    /// Goes one step back in the history.
    #[track_caller]
    pub fn back(&self) {
        self.ok(self.post("/back", &json!({})), "could not go back");
    }

    /// Goes one step forward in the history.
    #[track_caller]
    pub fn forward(&self) {
        self.ok(self.post("/forward", &json!({})), "could not go forward");
    }

    /// Returns the address as the address bar has it.
    #[track_caller]
    pub fn url(&self) -> String {
        let url = self.ok(self.get("/url"), "could not read the address");
        url.as_str().unwrap_or_default().to_owned()
    }

    /// Runs the body of a function in the page (`return …`; `arguments[0]` is the
    /// first of `args`); a promise that it returns is awaited.
    #[track_caller]
    pub fn eval(&self, js: &str, args: &[Value]) -> Value {
        self.ok(self.try_eval(js, args), &format!("could not run:\n{js}\n"))
    }

    /// Returns all the text that the page shows.
    #[track_caller]
    pub fn text(&self) -> String {
        let text = self.eval("return document.body ? document.body.innerText : ''", &[]);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression in the page is true. After `limit` it panics
    /// with the page's text and console.
    #[track_caller]
    pub fn wait_for(&self, js_condition: &str, limit: Duration) {
        // The page itself looks again and again, for as long as it is the page:
        // a navigation in between ends the script, not the waiting.
        let js = format!(
            "const end = performance.now() + arguments[0];
             const holds = () => ({js_condition});
             return new Promise((done, fail) => {{
               (function look() {{
                 try {{
                   if (holds()) return done(true);
                 }} catch (e) {{ if (performance.now() > end) return fail(e); }}
                 if (performance.now() > end) return done(false);
                 setTimeout(look, {});
               }})();
             }});",
            PACE.as_millis()
        );
        let deadline = Instant::now() + limit;
        let mut last = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let slice = left.min(Duration::from_secs(5));
            match self.try_eval(&js, &[json!(slice.as_millis() as u64)]) {
                Ok(Value::Bool(true)) => return,
                Ok(_) => {}
                Err(e) => {
                    last = format!(" (at last: {e})");
                    thread::sleep(PACE.min(left));
                }
            }
            if Instant::now() >= deadline {
                self.fail(&format!("within {limit:?} this did not become true:\n{js_condition}{last}"));
            }
        }
    }

    /// Waits until the page shows a text.
    #[track_caller]
    pub fn wait_for_text(&self, text: &str, limit: Duration) {
        self.wait_for(&format!("document.body.innerText.includes({})", json!(text)), limit);
    }

    /// Clicks the element of that role, or that fits that CSS selector, and has
    /// that accessible name; with an empty name, the first one. Waits for it to
    /// be there, enabled and not covered.
    #[track_caller]
    pub fn click(&self, role_or_css: &str, name: &str) {
        self.act(&format!("click the {role_or_css} {name:?}"), || {
            let element = self.element(role_or_css, name)?;
            if is_role(role_or_css) {
                self.enabled(role_or_css, name)?;
            }
            self.post(&format!("/element/{element}/click"), &json!({}))
        });
    }

    /// Types a text into the field with that label, in place of what is there.
    #[track_caller]
    pub fn type_into(&self, label: &str, text: &str) {
        self.act(&format!("type into the field {label:?}"), || {
            let element = self.field(label)?;
            let value = format!("/element/{element}/value");
            // As a person does it, so that the page sees its usual events.
            self.post(&value, &json!({ "text": "\u{E009}a\u{E000}" }))?;
            let text = if text.is_empty() { "\u{E017}" } else { text };
            self.post(&value, &json!({ "text": text }))
        });
    }

    /// Chooses an entry, by its text, of the list (`select`) with that label.
    #[track_caller]
    pub fn choose(&self, label: &str, entry: &str) {
        self.act(&format!("choose {entry:?} in the list {label:?}"), || {
            let element = self.element("combobox", label).or_else(|_| self.element("listbox", label))?;
            let js = "return [...arguments[0].options].find(o => o.text.trim() === arguments[1])";
            let option = self.try_eval(js, &[reference(&element), json!(entry)])?;
            let option = id(&option).ok_or_else(|| not_yet(format!("it has no entry {entry:?}")))?;
            self.post(&format!("/element/{option}/click"), &json!({}))
        });
    }

    /// Presses a key, or several at once: `Enter`, `Tab`, `Shift+Tab`, `Control+a`.
    #[track_caller]
    pub fn press(&self, key: &str) {
        let keys: Vec<String> = match key {
            "+" => vec!["+".into()],
            _ => key.split('+').map(code).collect(),
        };
        let down = keys.iter().map(|k| json!({ "type": "keyDown", "value": k }));
        let up = keys.iter().rev().map(|k| json!({ "type": "keyUp", "value": k }));
        let actions: Vec<Value> = down.chain(up).collect();
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.ok(self.post("/actions", &body), &format!("could not press {key}"));
    }

    /// Returns how the button with that name is; waits for it to be there.
    #[track_caller]
    pub fn button_state(&self, name: &str) -> Control {
        self.control("button", name)
    }

    /// Returns how the control of that role and name is; waits for it to be there.
    #[track_caller]
    pub fn control(&self, role: &str, name: &str) -> Control {
        self.act(&format!("look at the {role} {name:?}"), || {
            self.found(role, name)?.into_iter().next().ok_or_else(|| self.none(role, name))
        })
    }

    /// Returns all controls of that role as they are now; does not wait.
    #[track_caller]
    pub fn controls(&self, role: &str) -> Vec<Control> {
        self.ok(self.found(role, ""), &format!("could not look for each {role}"))
    }

    /// Says whether there is now an element of that role and name; does not wait.
    #[track_caller]
    pub fn has(&self, role: &str, name: &str) -> bool {
        let found = self.found(role, name);
        !self.ok(found, &format!("could not look for the {role} {name:?}")).is_empty()
    }

    /// Returns the element that has the focus.
    #[track_caller]
    pub fn focused(&self) -> Control {
        self.act("look at the element with the focus", || {
            let active = self.get("/element/active")?;
            let element = id(&active).ok_or_else(|| not_yet("nothing has the focus".into()))?;
            let word = |what: &str| {
                let value = self.get(&format!("/element/{element}/computed{what}"))?;
                Ok::<_, Refused>(value.as_str().unwrap_or_default().to_owned())
            };
            Ok(Control { role: word("role")?, name: word("label")?, focused: true, ..Control::default() })
        })
    }

    /// Reads the table with that accessible name; waits for it to be there.
    ///
    /// A record is a visible row: column header → text, as assistive technology
    /// reads it (nothing hidden, no `aria-hidden`; blanks made one). Titles
    /// (`title` attributes) in a cell are under `COLUMN@title`, joined by blanks.
    /// A row with one cell across all columns is not a record: its text is added to
    /// the record above it, under `@detail`.
    #[track_caller]
    pub fn table(&self, name: &str) -> Vec<BTreeMap<String, String>> {
        self.act(&format!("read the table {name:?}"), || {
            let element = ["table", "grid", "treegrid"].iter().find_map(|role| self.element(role, name).ok());
            let element = element.ok_or_else(|| self.none("table", name))?;
            let rows = self.try_eval(TABLE, &[reference(&element)])?;
            Ok(serde_json::from_value(rows).unwrap_or_default())
        })
    }

    /// Clicks the button with that name and returns the bytes of the file that
    /// it gives.
    #[track_caller]
    pub fn download(&self, button: &str) -> Vec<u8> {
        self.download_file(button).1
    }

    /// As [`Page::download`], with the file's name before the bytes.
    #[track_caller]
    pub fn download_file(&self, button: &str) -> (String, Vec<u8>) {
        // A folder for each file: what comes into it can be no other.
        let folder = {
            let mut count = self.downloads.lock().expect("no holder of this lock panics");
            *count += 1;
            self.folder.path().join(format!("download-{count}"))
        };
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("could not make {}: {e}", folder.display()));
        self.cdp("Browser.setDownloadBehavior", &json!({ "behavior": "allow", "downloadPath": folder }));
        self.click("button", button);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let names: Vec<String> = fs::read_dir(&folder)
                .map(|dir| dir.filter_map(Result::ok).map(|e| e.file_name().to_string_lossy().into_owned()).collect())
                .unwrap_or_default();
            // Chromium renames the file when all of it is there; until then its
            // name is hidden or says that it is part of one.
            if let [name] = names.as_slice()
                && !name.ends_with(".crdownload")
                && !name.starts_with('.')
            {
                let bytes = fs::read(folder.join(name)).unwrap_or_else(|e| panic!("could not read the download {name}: {e}"));
                return (name.clone(), bytes);
            }
            if Instant::now() >= deadline {
                self.fail(&format!("the button {button:?} gave no whole file within {PATIENCE:?}; there is {names:?}"));
            }
            thread::sleep(PACE);
        }
    }

    /// Returns the text on the clipboard.
    #[track_caller]
    pub fn clipboard(&self) -> String {
        let permissions = json!({ "permissions": ["clipboardReadWrite"] });
        self.cdp("Browser.grantPermissions", &permissions);
        let text = self.eval("return navigator.clipboard.readText()", &[]);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Writes what the page looks like to a PNG file.
    #[track_caller]
    pub fn screenshot(&self, path: &Path) {
        let shot = self.ok(self.get("/screenshot"), "could not take a picture");
        let bytes = from_base64(shot.as_str().unwrap_or_default());
        if let Some(folder) = path.parent() {
            let _ = fs::create_dir_all(folder);
        }
        fs::write(path, bytes).unwrap_or_else(|e| panic!("could not write {}: {e}", path.display()));
    }

    /// Returns all that the console said since the browser started.
    #[track_caller]
    pub fn console(&self) -> Vec<Message> {
        let new = self.ok(self.new_messages(), "could not read the console");
        let mut console = self.console.lock().expect("no holder of this lock panics");
        console.extend(new);
        console.clone()
    }

    /// Returns the errors among it, failed loads (404, CORS) included.
    #[track_caller]
    pub fn console_errors(&self) -> Vec<String> {
        let errors = self.console().into_iter().filter(|m| m.level == "SEVERE");
        errors.map(|m| m.to_string()).collect()
    }

    /// Runs axe-core, given as the text of its script, on the whole page.
    #[track_caller]
    pub fn axe(&self, axe_source: &str) -> Vec<Violation> {
        if self.eval("return typeof window.axe === 'undefined'", &[]) == Value::Bool(true) {
            self.eval(axe_source, &[]);
        }
        let js = "return axe.run(document, { resultTypes: ['violations'] }).then(r => r.violations)";
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let each = |v: &Value| v.as_array().cloned().unwrap_or_default();
        each(&self.eval(js, &[]))
            .iter()
            .map(|v| Violation {
                id: text(&v["id"]),
                impact: text(&v["impact"]),
                help: text(&v["help"]),
                nodes: each(&v["nodes"])
                    .iter()
                    .map(|n| {
                        let why = text(&n["failureSummary"]).replace('\n', " ");
                        format!("{} {} {why}", n["target"], text(&n["html"]))
                    })
                    .collect(),
            })
            .collect()
    }

    /// Gives the page another size; `scale` as in [`Options`].
    #[track_caller]
    pub fn set_window(&self, width: u32, height: u32, scale: f64) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Sets media features (`prefers-color-scheme`, `forced-colors`, …), in
    /// place of all those set before.
    #[track_caller]
    pub fn prefer(&self, features: &[(&str, &str)]) {
        let features: Vec<Value> = features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.cdp("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Takes the network away, or gives it back.
    #[track_caller]
    pub fn set_offline(&self, offline: bool) {
        self.cdp("Network.enable", &json!({}));
        self.cdp(
            "Network.emulateNetworkConditions",
            &json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 }),
        );
    }

    /// Calls a command of the DevTools protocol.
    #[track_caller]
    pub fn cdp(&self, command: &str, params: &Value) -> Value {
        self.ok(self.try_cdp(command, params), &format!("could not call {command}"))
    }

    fn get(&self, path: &str) -> Result<Value, Refused> {
        self.driver.call("GET", &format!("{}{path}", self.session), &Value::Null)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        self.driver.call("POST", &format!("{}{path}", self.session), body)
    }

    fn try_eval(&self, js: &str, args: &[Value]) -> Result<Value, Refused> {
        self.post("/execute/sync", &json!({ "script": js, "args": args }))
    }

    fn try_cdp(&self, command: &str, params: &Value) -> Result<Value, Refused> {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    fn new_messages(&self) -> Result<Vec<Message>, Refused> {
        let entries = self.post("/se/log", &json!({ "type": "browser" }))?;
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let message = |e: &Value| Message { level: text(&e["level"]), source: text(&e["source"]), text: text(&e["message"]) };
        Ok(entries.as_array().map(|e| e.iter().map(message).collect()).unwrap_or_default())
    }

    #[track_caller]
    fn ok<T>(&self, outcome: Result<T, Refused>, what: &str) -> T {
        match outcome {
            Ok(value) => value,
            Err(e) => self.fail(&format!("{what}: {e}")),
        }
    }

    /// Tries until it works; a refusal that cannot pass, or the end of the
    /// patience, is a panic.
    #[track_caller]
    fn act<T>(&self, what: &str, attempt: impl Fn() -> Result<T, Refused>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match attempt() {
                Ok(value) => return value,
                Err(e) if e.is_transient() && Instant::now() < deadline => thread::sleep(PACE),
                Err(e) => self.fail(&format!("could not {what}: {e}")),
            }
        }
    }

    /// Panics with all that helps to see why.
    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        const MOST: usize = 4000;
        let or = |r: Result<Value, Refused>| match r {
            Ok(value) => value.as_str().unwrap_or_default().to_owned(),
            Err(e) => format!("({e})"),
        };
        let url = or(self.get("/url"));
        let text = or(self.try_eval("return document.body ? document.body.innerText : ''", &[]));
        let cut: String = text.chars().take(MOST).collect();
        let more = if cut.len() < text.len() { "\n(and more)" } else { "" };
        if let (Ok(new), Ok(mut console)) = (self.new_messages(), self.console.lock()) {
            console.extend(new);
        }
        let lines = match self.console.lock() {
            Ok(console) => console.iter().map(|m| format!("{m}\n")).collect::<String>(),
            Err(_) => String::new(),
        };
        panic!("{what}\n--- at {url}\n--- the page shows:\n{cut}{more}\n--- its console:\n{lines}---")
    }

    /// Finds an element as WebDriver knows it.
    fn element(&self, role_or_css: &str, name: &str) -> Result<String, Refused> {
        if !is_role(role_or_css) {
            let query = json!({ "using": "css selector", "value": role_or_css });
            let found = self.post("/elements", &query)?;
            for element in found.as_array().into_iter().flatten().filter_map(id) {
                if name.is_empty() || self.get(&format!("/element/{element}/computedlabel"))? == name {
                    return Ok(element);
                }
            }
            return Err(not_yet(format!("no element fits {role_or_css} and has the name {name:?}")));
        }
        let nodes = self.nodes(role_or_css, name)?;
        let Some(node) = nodes.first() else {
            return Err(self.none(role_or_css, name));
        };
        // The tree knows the node by a number of its own; the way to WebDriver's
        // leads through the page.
        let gone = |e: Refused| not_yet(format!("it went away: {e}"));
        let resolve = json!({ "backendNodeId": node["backendDOMNodeId"] });
        let object = self.try_cdp("DOM.resolveNode", &resolve).map_err(gone)?;
        let call = json!({
            "objectId": object["object"]["objectId"],
            "functionDeclaration": "function () { globalThis[Symbol.for('found')] = this }",
        });
        self.try_cdp("Runtime.callFunctionOn", &call).map_err(gone)?;
        let js = "const key = Symbol.for('found'), it = globalThis[key]; delete globalThis[key]; return it";
        let element = self.try_eval(js, &[])?;
        id(&element).ok_or_else(|| not_yet("it went away".into()))
    }

    fn field(&self, label: &str) -> Result<String, Refused> {
        FIELDS.iter().find_map(|role| self.element(role, label).ok()).ok_or_else(|| self.none("textbox", label))
    }

    /// Asks the accessibility tree; an empty name is any name.
    fn nodes(&self, role: &str, name: &str) -> Result<Vec<Value>, Refused> {
        let gone = |e: Refused| not_yet(format!("the page is changing: {e}"));
        let root = self.try_cdp("DOM.getDocument", &json!({ "depth": 0 })).map_err(gone)?;
        let mut query = json!({ "nodeId": root["root"]["nodeId"], "role": role });
        if !name.is_empty() {
            query["accessibleName"] = json!(name);
        }
        let mut found = self.try_cdp("Accessibility.queryAXTree", &query).map_err(gone)?;
        let Value::Array(nodes) = found["nodes"].take() else {
            return Ok(Vec::new());
        };
        Ok(nodes.into_iter().filter(|n| n["ignored"] != true).collect())
    }

    fn found(&self, role: &str, name: &str) -> Result<Vec<Control>, Refused> {
        Ok(self.nodes(role, name)?.iter().map(control_of).collect())
    }

    fn enabled(&self, role: &str, name: &str) -> Result<(), Refused> {
        match self.found(role, name)?.into_iter().next() {
            Some(control) if control.disabled => {
                Err(not_yet(format!("it is disabled; its description is {:?}", control.description)))
            }
            _ => Ok(()),
        }
    }

    /// The refusal that no such element was found, with the elements of that role.
    fn none(&self, role: &str, name: &str) -> Refused {
        let names = self.found(role, "").unwrap_or_default();
        let names: Vec<String> = names.into_iter().map(|c| c.name).collect();
        not_yet(format!("there is no {role} {name:?}, only {names:?}"))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // Chromium ends cleanly, so that its profile can be removed.
        let _ = self.driver.call("DELETE", &self.session, &Value::Null);
    }
}

/// Reads a table (the argument) into records; see [`Page::table`].
const TABLE: &str = r"
const table = arguments[0];
const shown = e => e.checkVisibility({ visibilityProperty: true });
const read = node => {
  let out = '';
  // Bare text in closed details has no box of its own that could be asked.
  const closed = node.matches('details:not([open])');
  for (const child of closed ? node.querySelectorAll(':scope > summary') : node.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) { out += child.data; continue; }
    if (child.nodeType !== Node.ELEMENT_NODE) continue;
    if (child.getAttribute('aria-hidden') === 'true' || !shown(child)) continue;
    if (child.matches('input, select, textarea')) { out += ' ' + child.value + ' '; continue; }
    if (child.matches('img[alt]')) { out += ' ' + child.alt + ' '; continue; }
    if (child.matches('br')) { out += ' '; continue; }
    const inline = /^(inline|contents)$/.test(getComputedStyle(child).display);
    out += inline ? read(child) : ' ' + read(child) + ' ';
  }
  return out;
};
const text = cell => read(cell).replace(/\s+/g, ' ').trim();
const rows = [...table.rows].filter(r => shown(r) && r.closest('table') === table);
const head = (table.tHead && [...table.tHead.rows].at(-1)) || rows[0];
const columns = [];
for (const cell of head ? head.cells : []) for (let i = 0; i < cell.colSpan; i++) columns.push(text(cell));
const records = [];
for (const row of rows) {
  if (row === head || row.parentElement === table.tHead || row.parentElement === table.tFoot) continue;
  const cells = [...row.cells].filter(shown);
  if (cells.length === 1 && columns.length > 1 && cells[0].colSpan > 1) {
    const last = records.at(-1);
    if (last) last['@detail'] = ((last['@detail'] || '') + ' ' + text(cells[0])).trim();
    continue;
  }
  const record = {};
  let at = 0;
  for (const cell of cells) {
    const column = columns[at] ?? String(at);
    record[column] = text(cell);
    const titles = [cell, ...cell.querySelectorAll('[title]')].map(e => e.title).filter(Boolean);
    if (titles.length) record[column + '@title'] = titles.join(' ');
    at += cell.colSpan;
  }
  records.push(record);
}
return records;
";

/// The name that the protocol gives to what refers to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

fn id(value: &Value) -> Option<String> {
    value.get(ELEMENT)?.as_str().map(str::to_owned)
}

fn reference(element: &str) -> Value {
    json!({ ELEMENT: element })
}

/// Whether a text is a role and not a CSS selector: element names that are not
/// roles, and all texts with punctuation, are CSS.
fn is_role(text: &str) -> bool {
    const ELEMENTS: [&str; 14] =
        ["a", "body", "details", "dialog", "div", "h1", "h2", "input", "label", "p", "select", "span", "summary", "textarea"];
    // "dialog" is both; the role is meant.
    text == "dialog" || text.chars().all(char::is_alphabetic) && !ELEMENTS.contains(&text)
}

fn control_of(node: &Value) -> Control {
    let word = |what: &str| match &node[what]["value"] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let mut properties = Map::new();
    for property in node["properties"].as_array().into_iter().flatten() {
        if let Some(name) = property["name"].as_str() {
            properties.insert(name.to_owned(), property["value"]["value"].clone());
        }
    }
    let is = |name: &str| match properties.get(name) {
        Some(Value::Bool(value)) => Some(*value),
        Some(Value::String(value)) => Some(value == "true"),
        _ => None,
    };
    Control {
        role: word("role"),
        name: word("name"),
        description: word("description"),
        value: word("value"),
        disabled: is("disabled").unwrap_or(false),
        focused: is("focused").unwrap_or(false),
        pressed: is("pressed"),
        checked: is("checked").or_else(|| is("selected")),
        expanded: is("expanded"),
    }
}

/// The code that WebDriver has for a named key.
fn code(key: &str) -> String {
    let code = match key {
        "Backspace" => '\u{E003}',
        "Tab" => '\u{E004}',
        "Enter" => '\u{E007}',
        "Shift" => '\u{E008}',
        "Control" => '\u{E009}',
        "Alt" => '\u{E00A}',
        "Escape" => '\u{E00C}',
        "Space" => ' ',
        "PageUp" => '\u{E00E}',
        "PageDown" => '\u{E00F}',
        "End" => '\u{E010}',
        "Home" => '\u{E011}',
        "ArrowLeft" => '\u{E012}',
        "ArrowUp" => '\u{E013}',
        "ArrowRight" => '\u{E014}',
        "ArrowDown" => '\u{E015}',
        "Delete" => '\u{E017}',
        "Meta" => '\u{E03D}',
        _ => {
            assert!(key.chars().count() == 1, "no key is named {key:?}");
            return key.to_owned();
        }
    };
    code.to_string()
}

fn from_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for c in text.bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}

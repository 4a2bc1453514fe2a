// Starts the page, and says so where it cannot start or go on: what must work when the program no longer does.

// Static markup comes from the views' own source text, as innerHTML. Nothing that could run is among it.
const html = (text) => {
  if (/<\/?(?:script|iframe|object|embed|base|meta|link|style)\b|[\s"'\/]on[a-z]+\s*=|javascript:|srcdoc/i.test(text)) {
    throw new TypeError("overtag: this markup is not one of the page's own");
  }
  return text;
};
// Trusted Types: <https://developer.mozilla.org/docs/Web/API/Trusted_Types_API>
self.trustedTypes?.createPolicy("default", { createHTML: html });

let isDown = false;
const announce = (text) => {
  if (isDown) return;
  isDown = true;
  document.querySelector(".greeting p")?.remove();
  document.querySelector("main")?.setAttribute("aria-busy", "false");
  const notice = document.createElement("p");
  notice.setAttribute("role", "alert");
  notice.className = "notice";
  notice.dataset.kind = "error";
  notice.textContent = text;
  document.body.prepend(notice);
  notice.scrollIntoView({ block: "nearest" });
};
const crashed = "overtag crashed. Your link is still in the address bar; reload the page. If it crashes again, leave out the file or template that you gave last.";
// A trap of the program (a panic, memory, the stack) comes as one of these; a cancelled request does not. By name: Firefox has an
// InternalError of its own for the stack.
const isFatal = (error) => ["RuntimeError", "RangeError", "InternalError"].includes(error?.name);
addEventListener("error", (event) => isFatal(event.error) && announce(crashed));
addEventListener("unhandledrejection", (event) => isFatal(event.reason) && announce(crashed));

const start = async () => {
  // Others may frame the wall, not the controls: a click must be meant for this page.
  if (self !== top && new URLSearchParams(location.search).get("embed") !== "1") {
    const link = document.createElement("a");
    link.href = location.href;
    link.target = "_blank";
    link.rel = "noopener";
    link.textContent = "Open overtag in its own window";
    document.querySelector(".greeting p").replaceChildren(link, "; only links with embed=1 are shown in frames.");
    document.querySelector("main").setAttribute("aria-busy", "false");
    return;
  }
  const named = (name) => new URL(document.querySelector(`meta[name=${name}]`).content, document.baseURI).href;
  const program = await import(named("overtag-js"));
  await program.default({ module_or_path: named("overtag-wasm") });
};
start().catch((error) => {
  console.error(error);
  announce(isFatal(error) ? crashed : `overtag could not be loaded (${error.message}). Reload the page; a current Firefox, Chromium or Safari is needed.`);
});

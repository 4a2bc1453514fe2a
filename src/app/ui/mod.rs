//! Controls that know nothing of images: a field, a list of fields, a foldable part.

use leptos::prelude::*;

/// A labelled line of text. `wrong` is what is wrong with it, shown once the typing is over.
#[component]
pub fn Field(
    /// Its label.
    label: &'static str,
    /// What it holds.
    value: Signal<String>,
    /// Takes what was typed.
    on_input: Callback<String>,
    /// What it may look like.
    #[prop(default = "")]
    placeholder: &'static str,
    /// What is wrong with it, or nothing.
    #[prop(optional, into)]
    wrong: Signal<Option<String>>,
    /// The id of a list of suggestions.
    #[prop(optional)]
    list: Option<&'static str>,
    /// Whether the label stands above.
    #[prop(optional)]
    wide: bool,
) -> impl IntoView {
    // While it is typed into it holds what was typed, even where that means the default; until the value changes from elsewhere.
    let draft = RwSignal::new(None::<(String, String)>);
    let shown = move || {
        let value = value.get();
        draft.get().filter(|(_, meant)| *meant == value).map_or(value, |(typed, _)| typed)
    };
    let help = format!("help-{}", label.to_lowercase().replace(' ', "-"));
    let describedby = help.clone();
    view! {
        <label class="field" data-wide=wide.then_some("")>
            <span>{label}</span>
            <input
                class="input mono"
                spellcheck="false"
                autocapitalize="off"
                autocomplete="off"
                placeholder=placeholder
                list=list
                prop:value=shown
                on:input=move |e| {
                    let typed = event_target_value(&e);
                    on_input.run(typed.clone());
                    draft.set(Some((typed, value.get_untracked())));
                }
                on:blur=move |_| draft.set(None)
                aria-invalid=move || wrong.get().map(|_| "true")
                aria-describedby=move || wrong.get().map(|_| describedby.clone())
            />
        </label>
        {move || wrong.get().map(|text| view! { <p class="help" data-kind="error" id=help.clone()>{text}</p> })}
    }
}

/// A labelled choice among a few.
#[component]
pub fn Select(
    /// Its label.
    label: &'static str,
    /// What is chosen.
    value: Signal<String>,
    /// What can be chosen.
    options: Signal<Vec<String>>,
    /// Takes what was chosen.
    on_change: Callback<String>,
) -> impl IntoView {
    let choices = move || {
        let chosen = value.get();
        let option = |o: String| {
            let is_chosen = o == chosen;
            let text = o.clone();
            view! { <option value=o selected=is_chosen>{text}</option> }
        };
        options.get().into_iter().map(option).collect_view()
    };
    view! {
        <label class="field">
            <span>{label}</span>
            <select class="input" on:change=move |e| on_change.run(event_target_value(&e)) prop:value=value>{choices}</select>
        </label>
    }
}

/// A list of values, each one field or two that are joined by `=`.
#[component]
pub fn Rows(
    /// What the list is.
    legend: &'static str,
    /// What one of it is called.
    one: &'static str,
    /// The names of the two fields, where a value is `A=B`.
    #[prop(optional)]
    pair: Option<(&'static str, &'static str)>,
    /// The values.
    values: Signal<Vec<String>>,
    /// Takes all values.
    on_change: Callback<Vec<String>>,
    /// What is wrong with them.
    #[prop(optional, into)]
    wrong: Signal<Option<String>>,
) -> impl IntoView {
    // One more field than there are values can be open, until something is typed into it.
    let extra = RwSignal::new(false);
    let count = Memo::new(move |_| values.get().len() + usize::from(extra.get()));
    let at = move |i: usize| values.with(|v| v.get(i).cloned().unwrap_or_default());
    let set = move |i: usize, text: String| {
        let mut all = values.get_untracked();
        if i < all.len() {
            all[i] = text;
        } else {
            extra.set(false);
            all.push(text);
        }
        on_change.run(all);
    };
    let remove = move |i: usize| {
        let mut all = values.get_untracked();
        if i < all.len() {
            all.remove(i);
            on_change.run(all);
        } else {
            extra.set(false);
        }
    };
    let lower = one.to_lowercase();
    let id = format!("help-{}", lower.replace(' ', "-"));
    let help = id.clone();
    let item = move |i: usize| {
        let (value, help) = (Signal::derive(move || at(i)), help.clone());
        let typed = Callback::new(move |text| set(i, text));
        let removed = Callback::new(move |()| remove(i));
        view! { <Value one=one pair=pair i=i value=value on_input=typed on_remove=removed wrong=wrong help=help /> }
    };
    view! {
        <fieldset class="rows">
            <legend>{legend}</legend>
            <ul class="rows"><For each=move || 0..count.get() key=|i| *i children=item /></ul>
            {move || wrong.get().map(|text| view! { <p class="help" data-kind="error" id=id.clone()>{text}</p> })}
            <button class="button add" data-kind="text" type="button" on:click=move |_| extra.set(true)>{format!("Add {lower}")}</button>
        </fieldset>
    }
}

/// A value of a list: one field or two, and a button that takes it off.
#[component]
fn Value(
    one: &'static str,
    pair: Option<(&'static str, &'static str)>,
    i: usize,
    value: Signal<String>,
    on_input: Callback<String>,
    on_remove: Callback<()>,
    wrong: Signal<Option<String>>,
    /// The id of what says what is wrong.
    help: String,
) -> impl IntoView {
    let halves =
        |text: &str| text.split_once('=').map_or((text.to_owned(), String::new()), |(a, b)| (a.to_owned(), b.to_owned()));
    // All of a value, or what is before or after its `=`.
    let input = |label: String, part: Option<bool>| {
        let described = help.clone();
        let shown = move || match part {
            None => value.get(),
            Some(true) => halves(&value.get()).0,
            Some(false) => halves(&value.get()).1,
        };
        let typed = move |text: String| {
            let (a, b) = halves(&value.get_untracked());
            on_input.run(match part {
                None => text,
                Some(true) => format!("{text}={b}"),
                Some(false) => format!("{a}={text}"),
            });
        };
        view! {
            <input
                class="input mono"
                spellcheck="false"
                autocapitalize="off"
                autocomplete="off"
                aria-label=label
                aria-describedby=move || wrong.get().map(|_| described.clone())
                prop:value=shown
                on:input=move |e| typed(event_target_value(&e))
            />
        }
    };
    let fields = match pair {
        Some((a, b)) => view! {
            <span class="pair">{input(format!("{a} {}", i + 1), Some(true))}{input(format!("{b} {}", i + 1), Some(false))}</span>
        }
        .into_any(),
        None => input(format!("{one} {}", i + 1), None).into_any(),
    };
    view! {
        <li>
            {fields}
            <button class="icon" type="button" aria-label=format!("Remove {} {}", one.to_lowercase(), i + 1) on:click=move |_| on_remove.run(())>"×"</button>
        </li>
    }
}

/// A part that folds, with a line that says what is in it.
#[component]
pub fn Fold(
    /// Its classes beside `fold`.
    class: &'static str,
    /// Its heading.
    title: Signal<String>,
    /// What is in it, in few words.
    summary: Signal<String>,
    /// Whether it is open at first.
    open: bool,
    /// What is in it.
    children: Children,
) -> impl IntoView {
    view! {
        <details class=format!("{class} fold") open=open>
            <summary><h2>{title}</h2><span class="gist">{summary}</span></summary>
            {children()}
        </details>
    }
}

/// A phrase as a sentence: a capital letter and a full stop.
pub fn sentence(phrase: &str) -> String {
    let mut chars = phrase.chars();
    chars.next().map_or(String::new(), |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}

//! The promoter's file: which jobs a channel's candidate must pass.

use serde_json::Value;

use super::{CHANNELS, Criteria, Pipeline};
use crate::engine::error::{Error, clean};
use crate::engine::image::tag::is_tag;
use crate::engine::registry::redirect;
use crate::engine::url;
use crate::engine::yaml;

/// Jobs of one channel.
const JOBS: usize = 500;

impl Pipeline {
    /// Reads the file `name`; `from` is its whole address, empty for a file of the user's own.
    ///
    /// # Errors
    /// What is not such a file. What of it is not followed becomes a notice.
    pub(super) fn read_criteria(&mut self, name: &str, from: &str, text: &str) -> Result<(), String> {
        let yaml::Document { value: file, notices } =
            yaml::parse(name, text).map_err(|e: Error| format!("{}: {}", e.message, e.location))?;
        let mut reported: Vec<String> = notices.iter().map(ToString::to_string).collect();
        let mut report = |message: String| reported.push(format!("{message}: {}", clean(name)));
        let texts = |value: Option<&Value>| -> Vec<String> {
            let list = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            list.filter(|name| clean(name) == *name).take(JOBS).map(str::to_owned).collect()
        };
        let is_name = |value: &Value| value.as_str().is_some_and(|name| clean(name) == name);
        let is_names = |value: &Value| value.as_array().is_some_and(|list| list.len() <= JOBS && list.iter().all(is_name));
        let Some(Value::Object(channels)) = file.get("promotions") else {
            return Err("this is not a promoter's file: it has no `promotions`".to_owned());
        };
        if channels.len() > CHANNELS {
            return Err(format!("it has {} channels; at most {CHANNELS} are allowed", channels.len()));
        }
        for (channel, value) in channels {
            let of = clean(channel);
            if !is_tag(channel) {
                report(format!("`{of}` is not a tag and is ignored"));
                continue;
            }
            match value.get("criteria") {
                None | Some(Value::Null) => report(format!("`{of}` has no `criteria`, so no job is required")),
                Some(list) if is_names(list) => {}
                Some(_) => report(format!("the criteria of `{of}` are not all job names; the others are ignored")),
            }
            let jobs = texts(value.get("criteria"));
            let others = value.get("alternative_criteria").filter(|others| !others.is_null());
            match others.map(Value::as_object) {
                Some(None) => report(format!("the alternative criteria of `{of}` are not a mapping and are ignored")),
                others => {
                    for (job, list) in others.flatten().into_iter().flatten() {
                        if !jobs.contains(job) {
                            report(format!("`{of}` has an alternative for {}, which is not among its criteria", clean(job)));
                        } else if !list.is_null() && !is_names(list) {
                            report(format!("the alternatives for {} of `{of}` are not all job names", clean(job)));
                        }
                    }
                }
            }
            let candidate = value.get("candidate_label").filter(|label| !label.is_null());
            let named = candidate.and_then(Value::as_str).filter(|label| is_tag(label));
            if candidate.is_some() && named.is_none() {
                report(format!("the `candidate_label` of `{of}` is not a tag and is ignored"));
            }
            let candidate = named.unwrap_or_default().to_owned();
            let jobs = jobs.into_iter().map(|job| (job.clone(), texts(others.and_then(|o| o.get(&job))))).collect();
            self.criteria.insert(channel.clone(), Criteria { candidate, jobs });
        }
        let mut address = |key: &str| {
            let given = file.get(key).filter(|value| !value.is_null())?;
            let url = given.as_str().filter(|url| url::Address::parse(url).is_some());
            // What only becomes a link leads nobody anywhere by itself.
            let from = if key == "api_url" { from } else { "" };
            let may = url.map_or(Err("it is not an address".to_owned()), |url| {
                if from.is_empty() { Ok(()) } else { redirect::check_redirect(from, url) }
            });
            if let Err(why) = &may {
                report(format!("`{key}` is ignored: {why}"));
            }
            url.filter(|_| may.is_ok()).map(str::to_owned)
        };
        (self.api, self.base) = (address("api_url"), address("base_url"));
        self.notices = reported;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Want, What};
    use super::*;
    use crate::engine::time::Timestamp;

    #[test]
    fn ignored_criteria_settings_are_reported() {
        for (file, words) in [
            ("promotions: {a: [x]}", "`a` has no `criteria`"),
            ("promotions: {a: {}}", "`a` has no `criteria`"),
            ("promotions: {a: {criteria: x}}", "the criteria of `a` are not all job names"),
            ("promotions: {a b: {criteria: [x]}}", "`a b` is not a tag"),
            ("promotions: {a: {criteria: [\"x\\ty\"]}}", "the criteria of `a` are not all job names"),
            ("promotions: {a: {criteria: [x], candidate_label: \"b\\nc\"}}", "the `candidate_label` of `a` is not a tag"),
            ("promotions: {a: {criteria: [x, 1]}}", "the criteria of `a` are not all job names"),
            ("promotions: {a: {criteria: [x], alternative_criteria: [y]}}", "the alternative criteria of `a` are not a mapping"),
            ("promotions: {a: {criteria: [x], alternative_criteria: {y: [z]}}}", "an alternative for y, which is not among"),
            ("promotions: {a: {criteria: [x], alternative_criteria: {x: [1]}}}", "the alternatives for x of `a`"),
            ("promotions: {a: {criteria: [x], candidate_label: [b]}}", "the `candidate_label` of `a`"),
            ("api_url: ftp://x\npromotions: {a: {criteria: [x]}}", "`api_url` is ignored: it is not an address"),
            ("base_url: 3\npromotions: {a: {criteria: [x]}}", "`base_url` is ignored: it is not an address"),
            ("promotions: {a: {criteria: [x], criteria: [y]}}", "`criteria` appears twice"),
            ("api_url: https://x\npromotions: {a: {criteria: [x], alternative_criteria: {x: [y]}, candidate_label: b}}", ""),
        ] {
            let mut pipeline = Pipeline::default();
            pipeline.take(Want { url: "c.yaml".to_owned(), answers: What::Criteria }, "", Timestamp(0), Ok(file.to_owned()));
            let reported = pipeline.notices.join("\n");
            assert!(reported.contains(words) && reported.lines().count() == usize::from(!words.is_empty()), "{file}: {reported}");
            assert!(words.is_empty() || reported.contains("c.yaml"), "{file}: {reported}");
        }
    }
}

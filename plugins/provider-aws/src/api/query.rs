//! Requests of the Query protocol.

use basb_cloud_kit::UNRESERVED;
use percent_encoding::utf8_percent_encode;

/// A form of parameters.
pub struct Form(String);

impl Form {
    /// For an action in a version of the API.
    pub fn new(action: &str, version: &str) -> Form {
        Form(format!("Action={action}&Version={version}"))
    }

    /// A parameter. A space is a `+`, as in every form (<https://url.spec.whatwg.org/#application/x-www-form-urlencoded>)
    /// and in those of AWS's own clients: a server that signs what it has read of a form comes to the same signature.
    pub fn set(&mut self, name: &str, value: impl AsRef<str>) {
        let value = utf8_percent_encode(value.as_ref(), UNRESERVED).to_string().replace("%20", "+");
        self.0.push_str(&format!("&{name}={value}"));
    }

    /// A parameter, where there is a value.
    pub fn set_some(&mut self, name: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// A list of texts: `NAME.member.1`, …
    pub fn list<T: AsRef<str>>(&mut self, name: &str, values: &[T]) {
        for (index, value) in values.iter().enumerate() {
            self.set(&format!("{name}.member.{}", index + 1), value);
        }
    }

    /// Tags: `Tags.member.1.Key`, …
    pub fn tags(&mut self, tags: &[(String, String)]) {
        for (index, (key, value)) in tags.iter().enumerate() {
            self.set(&format!("Tags.member.{}.Key", index + 1), key);
            self.set(&format!("Tags.member.{}.Value", index + 1), value);
        }
    }

    /// The body.
    pub fn into_body(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_a_form() {
        let mut form = Form::new("ModifyRule", "2015-12-01");
        form.set("A", "no one: a+b %20 ~*&=/");
        assert_eq!(form.into_body(), "Action=ModifyRule&Version=2015-12-01&A=no+one%3A+a%2Bb+%2520+~%2A%26%3D%2F");
    }
}

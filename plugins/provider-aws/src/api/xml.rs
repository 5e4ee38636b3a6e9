//! Answers of the Query protocol.

use roxmltree::{Document, Node};

/// An element, for reading what is below it.
#[derive(Clone, Copy)]
pub struct Element<'a, 'i>(Node<'a, 'i>);

impl<'a, 'i> Element<'a, 'i> {
    /// The element of this name right below.
    pub fn child(self, name: &str) -> Option<Element<'a, 'i>> {
        self.0.children().find(|node| node.has_tag_name_of(name)).map(Element)
    }

    /// The text of the element of this name right below; empty text is none.
    pub fn text(self, name: &str) -> Option<String> {
        let text = self.child(name)?.0.text()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// What `read` makes of each `<member>` of the list of this name; an absent list is empty.
    pub fn members<T>(self, name: &str, read: impl Fn(Element<'a, 'i>) -> T) -> Vec<T> {
        let Some(list) = self.child(name) else { return Vec::new() };
        list.0.children().filter(|node| node.has_tag_name_of("member")).map(Element).map(read).collect()
    }

    /// The texts of the list of this name.
    pub fn texts(self, name: &str) -> Vec<String> {
        self.members(name, |member| member.0.text().unwrap_or_default().trim().to_owned())
    }
}

trait Named {
    fn has_tag_name_of(&self, name: &str) -> bool;
}

impl Named for Node<'_, '_> {
    /// Whatever the namespace, which differs with the version of the API.
    fn has_tag_name_of(&self, name: &str) -> bool {
        self.is_element() && self.tag_name().name() == name
    }
}

/// What `read` makes of the result of this action.
///
/// # Errors
/// What is wrong with the text.
pub fn result<T>(text: &str, action: &str, read: impl Fn(Element<'_, '_>) -> T) -> Result<T, String> {
    let document = Document::parse(text).map_err(|error| error.to_string())?;
    let root = Element(document.root_element());
    let name = format!("{action}Result");
    root.child(&name).map(read).ok_or_else(|| format!("there is no <{name}>"))
}

/// An error in XML.
pub struct XmlError {
    pub code: String,
    pub message: String,
    pub request_id: Option<String>,
}

/// The error in an answer, if it is one.
pub fn error(text: &str) -> Option<XmlError> {
    let document = Document::parse(text).ok()?;
    let root = Element(document.root_element());
    let error = root.child("Error").or_else(|| root.child("Errors")?.child("Error"))?;
    Some(XmlError {
        code: error.text("Code").unwrap_or_default(),
        message: error.text("Message").unwrap_or_default(),
        request_id: root.text("RequestId").or_else(|| root.text("RequestID")),
    })
}

//! AWS Lambda: REST with JSON.

use std::collections::BTreeMap;

use basb_cloud_kit::{Client, IfFound, Page, Refused, UNRESERVED, pages};
use basb_plugin::Failure;
use basb_plugin::http::Request;
use percent_encoding::utf8_percent_encode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Aws, null_as_default};

/// Lambda, for one function.
#[derive(Clone, Copy)]
pub struct LambdaApi<'a> {
    client: Client<'a>,
    endpoint: &'a str,
    function: &'a str,
}

/// A function, or a version of one.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FunctionConfiguration {
    pub function_arn: String,
    pub version: String,
    #[serde(deserialize_with = "null_as_default")]
    pub description: String,
    #[serde(deserialize_with = "null_as_default")]
    pub role: String,
    pub handler: Option<String>,
    pub runtime: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub memory_size: u32,
    #[serde(deserialize_with = "null_as_default")]
    pub timeout: u32,
    pub environment: Option<Environment>,
    #[serde(deserialize_with = "null_as_default")]
    pub code_sha256: String,
    pub revision_id: Option<String>,
    pub state: Option<String>,
    pub state_reason: Option<String>,
    pub state_reason_code: Option<String>,
    pub last_update_status: Option<String>,
    pub last_update_status_reason: Option<String>,
    pub last_update_status_reason_code: Option<String>,
    pub package_type: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub architectures: Vec<String>,
    pub image_config_response: Option<ImageConfigResponse>,
}

/// Its environment.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Environment {
    #[serde(deserialize_with = "null_as_default")]
    pub variables: BTreeMap<String, String>,
}

/// How its image is started.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfigResponse {
    pub image_config: Option<ImageConfig>,
}

/// How an image is started.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    #[serde(deserialize_with = "null_as_default")]
    pub command: Vec<String>,
}

/// A function with where its code is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Function {
    pub configuration: FunctionConfiguration,
    #[serde(deserialize_with = "null_as_default")]
    pub code: Code,
    #[serde(deserialize_with = "null_as_default")]
    pub tags: BTreeMap<String, String>,
}

/// Where code is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Code {
    pub image_uri: Option<String>,
}

/// A name that leads to one or two versions.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Alias {
    pub function_version: String,
    #[serde(deserialize_with = "null_as_default")]
    pub description: String,
    pub routing_config: Option<Routing>,
    pub revision_id: Option<String>,
}

/// The second version of an alias.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Routing {
    #[serde(deserialize_with = "null_as_default")]
    pub additional_version_weights: BTreeMap<String, f64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct VersionsPage {
    #[serde(deserialize_with = "null_as_default")]
    versions: Vec<FunctionConfiguration>,
    next_marker: Option<String>,
}

impl<'a> LambdaApi<'a> {
    /// Lambda behind this endpoint, for this function.
    pub fn new(client: Client<'a>, endpoint: &'a str, function: &'a str) -> LambdaApi<'a> {
        LambdaApi { client, endpoint, function }
    }

    /// The requests' client.
    pub fn client(&self) -> Client<'a> {
        self.client
    }

    fn url(&self, rest: &str) -> String {
        let function = utf8_percent_encode(self.function, UNRESERVED);
        format!("{}/2015-03-31/functions/{function}{rest}", self.endpoint.trim_end_matches('/'))
    }

    fn call<T: DeserializeOwned>(&self, action: &str, request: Request) -> Result<T, Refused> {
        self.client.json::<Aws, T>(&format!("Lambda {action}"), request)
    }

    fn delete(&self, action: &str, rest: &str) -> Result<(), Failure> {
        let request = Request::delete(self.url(rest));
        self.client.send::<Aws>(&format!("Lambda {action}"), request).if_found().map(drop)
    }

    /// The function, if it is there.
    pub fn function(&self) -> Result<Option<Function>, Failure> {
        self.call("GetFunction", Request::get(self.url(""))).if_found()
    }

    /// A version, if it is there.
    pub fn version(&self, version: &str) -> Result<Option<FunctionConfiguration>, Failure> {
        let url = self.url(&format!(":{version}/configuration"));
        self.call("GetFunctionConfiguration", Request::get(url)).if_found()
    }

    /// Its published versions; none where there is no function.
    pub fn versions(&self) -> Result<Vec<FunctionConfiguration>, Failure> {
        let all = pages("ListVersionsByFunction", |marker| {
            let marker = marker.map(|marker| format!("?Marker={}", utf8_percent_encode(marker, UNRESERVED)));
            let url = self.url(&format!("/versions{}", marker.unwrap_or_default()));
            let page: Option<VersionsPage> = self.call("ListVersionsByFunction", Request::get(url)).if_found()?;
            let page = page.unwrap_or_default();
            Ok(Page { items: page.versions, next: page.next_marker })
        })?;
        Ok(all.into_iter().filter(|version| version.version != "$LATEST").collect())
    }

    /// Makes the function.
    pub fn create(&self, body: &Value) -> Result<FunctionConfiguration, Refused> {
        let url = format!("{}/2015-03-31/functions", self.endpoint.trim_end_matches('/'));
        self.call("CreateFunction", Request::post(url).json(body))
    }

    /// Changes its configuration.
    pub fn update_configuration(&self, body: &Value) -> Result<FunctionConfiguration, Refused> {
        self.call("UpdateFunctionConfiguration", Request::put(self.url("/configuration")).json(body))
    }

    /// Changes its code.
    pub fn update_code(&self, body: &Value) -> Result<FunctionConfiguration, Refused> {
        self.call("UpdateFunctionCode", Request::put(self.url("/code")).json(body))
    }

    /// Makes a version of what it is now.
    pub fn publish(&self, body: &Value) -> Result<FunctionConfiguration, Refused> {
        self.call("PublishVersion", Request::post(self.url("/versions")).json(body))
    }

    /// Removes a version.
    pub fn delete_version(&self, version: &str) -> Result<(), Failure> {
        self.delete("DeleteFunction", &format!(":{version}"))
    }

    /// Removes the function with everything of it.
    pub fn delete_function(&self) -> Result<(), Failure> {
        self.delete("DeleteFunction", "")
    }

    /// An alias, if it is there.
    pub fn alias(&self, name: &str) -> Result<Option<Alias>, Failure> {
        self.call("GetAlias", Request::get(self.url(&format!("/aliases/{name}")))).if_found()
    }

    /// Makes an alias of one version.
    pub fn create_alias(&self, name: &str, version: &str, description: &str) -> Result<Alias, Refused> {
        let body = json!({"Name": name, "FunctionVersion": version, "Description": description});
        self.call("CreateAlias", Request::post(self.url("/aliases")).json(&body))
    }

    /// Leads an alias to other versions, if it is still as it was when it was read.
    pub fn update_alias(
        &self,
        name: &str,
        version: &str,
        second: &BTreeMap<String, f64>,
        lock: Option<&str>,
    ) -> Result<Alias, Refused> {
        let mut body = json!({"FunctionVersion": version, "RoutingConfig": {"AdditionalVersionWeights": second}});
        if let (Some(lock), Some(fields)) = (lock, body.as_object_mut()) {
            fields.insert("RevisionId".into(), lock.into());
        }
        self.call("UpdateAlias", Request::put(self.url(&format!("/aliases/{name}"))).json(&body))
    }

    /// Removes an alias.
    pub fn delete_alias(&self, name: &str) -> Result<(), Failure> {
        self.delete("DeleteAlias", &format!("/aliases/{name}"))
    }
}

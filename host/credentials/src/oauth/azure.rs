//! Client credentials of Microsoft Entra ("Microsoft identity platform and the OAuth 2.0 client credentials flow").

use super::token_request;
use crate::config::AzureClient;
use basb_secrets::Ask;
use url::Url;
use url::form_urlencoded::Serializer;

/// The token endpoint of a tenant.
pub(crate) fn endpoint(azure: &AzureClient) -> Url {
    let mut url = azure.authority.clone();
    let path = format!("{}/{}/oauth2/v2.0/token", url.path().trim_end_matches('/'), azure.tenant);
    url.set_path(&path);
    url
}

/// The request for a token.
pub(crate) fn ask(azure: &AzureClient, client_secret: &str) -> Ask {
    let form = Serializer::new(String::new())
        .append_pair("client_id", &azure.client_id)
        .append_pair("scope", &azure.scope)
        .append_pair("client_secret", client_secret)
        .append_pair("grant_type", "client_credentials")
        .finish();
    token_request(endpoint(azure), form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use basb_redact::SecretName;

    #[test]
    fn the_request_is_the_documented_one() {
        let azure = AzureClient {
            tenant: "contoso.example".to_owned(),
            client_id: "535fb089-9ff3-47b6-9bfb-4f1264799865".to_owned(),
            client_secret: SecretName::new("s").unwrap(),
            scope: "https://management.azure.com/.default".to_owned(),
            authority: Url::parse("https://login.microsoftonline.com/").unwrap(),
        };
        let ask = ask(&azure, "a b&c=d~é");
        assert_eq!(ask.url.as_str(), "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token");
        assert_eq!(
            ask.body,
            "client_id=535fb089-9ff3-47b6-9bfb-4f1264799865&scope=https%3A%2F%2Fmanagement.azure.com%2F.default&\
             client_secret=a+b%26c%3Dd%7E%C3%A9&grant_type=client_credentials"
        );
    }
}

//! Region and service, as a signature names them, from the name of an AWS host.
//!
//! Where the name does not tell, nothing is guessed: the operator writes them. A wrong guess would be refused by AWS, with
//! a message about signatures that helps nobody. Checked against the endpoints of botocore in the tests.

/// What a host name tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    pub region: Option<String>,
    pub service: Option<String>,
}

/// The domains of AWS, and the region where its global services sign.
const DOMAINS: [(&str, &str); 9] = [
    ("amazonaws.com", "us-east-1"),
    ("api.aws", "us-east-1"),
    ("on.aws", "us-east-1"),
    ("amazonaws.com.cn", "cn-northwest-1"),
    ("api.amazonwebservices.com.cn", "cn-northwest-1"),
    ("amazonaws.eu", "eusc-de-east-1"),
    ("api.amazonwebservices.eu", "eusc-de-east-1"),
    ("c2s.ic.gov", "us-iso-east-1"),
    ("sc2s.sgov.gov", "us-isob-east-1"),
];

/// Services without a region in their host names.
const GLOBAL: [&str; 16] = [
    "budgets",
    "ce",
    "cloudfront",
    "globalaccelerator",
    "health",
    "iam",
    "networkmanager",
    "organizations",
    "route53",
    "s3",
    "savingsplans",
    "sdb",
    "shield",
    "sts",
    "support",
    "waf",
];

/// Hosts in front of the region whose service has another name in signatures (from botocore's service models).
const RENAMED: [(&str, &str); 84] = [
    ("a2i-runtime.sagemaker", "sagemaker"),
    ("account-access-runtime", "account-access"),
    ("admin.wickr", "wickr"),
    ("agent-registry-control", "agent-registry"),
    ("agreement-marketplace", "aws-marketplace"),
    ("aos", "es"),
    ("api.detective", "detective"),
    ("api.ecr", "ecr"),
    ("api.ecr-public", "ecr-public"),
    ("api.iot-tunneling", "IoTSecuredTunneling"),
    ("api.iotdeviceadvisor", "iotdeviceadvisor"),
    ("api.iotmanagedintegrations", "iotmanagedintegrations"),
    ("api.iotwireless", "iotwireless"),
    ("api.mediatailor", "mediatailor"),
    ("api.pricing", "pricing"),
    ("api.sagemaker", "sagemaker"),
    ("api.tunneling.iot", "IoTSecuredTunneling"),
    ("appconfigdata", "appconfig"),
    ("appstream2", "appstream"),
    ("bedrock-agent", "bedrock"),
    ("bedrock-agent-runtime", "bedrock"),
    ("bedrock-agentcore-control", "bedrock-agentcore"),
    ("bedrock-data-automation", "bedrock"),
    ("bedrock-data-automation-runtime", "bedrock"),
    ("bedrock-runtime", "bedrock"),
    ("cassandra-streams", "cassandra"),
    ("catalog.marketplace", "aws-marketplace"),
    ("cloudhsmv2", "cloudhsm"),
    ("cloudsearchdomain", "cloudsearch"),
    ("cloudwatch-omni", "cloudwatch"),
    ("cn.transcribe", "transcribe"),
    ("contact-lens", "connect"),
    ("controlplane.payment-cryptography", "payment-cryptography"),
    ("data-ats.iot", "iotdata"),
    ("data-signer", "signer"),
    ("data.ats.iot", "iotdata"),
    ("data.jobs.iot", "iot-jobs-data"),
    ("data.mediastore", "mediastore"),
    ("data.qapps", "qapps"),
    ("dataplane.payment-cryptography", "payment-cryptography"),
    ("deployment-marketplace", "aws-marketplace"),
    ("discovery-marketplace", "aws-marketplace"),
    ("edge.sagemaker", "sagemaker"),
    ("email", "ses"),
    ("entitlement-marketplace", "aws-marketplace"),
    ("entitlement.marketplace", "aws-marketplace"),
    ("eventsv2", "events"),
    ("featurestore-runtime.sagemaker", "sagemaker"),
    ("forecastquery", "forecast"),
    ("iam-toolbox", "iam"),
    ("identity-chime", "chime"),
    ("inferencerouter-runtime.sagemaker", "sagemaker"),
    ("ingest.timestream", "timestream"),
    ("ivsrealtime", "ivs"),
    ("job-runtime.sagemaker", "sagemaker"),
    ("mail-manager", "ses"),
    ("media-pipelines-chime", "chime"),
    ("meetings-chime", "chime"),
    ("memory-db", "memorydb"),
    ("messaging-chime", "chime"),
    ("metering-marketplace", "aws-marketplace"),
    ("metering.marketplace", "aws-marketplace"),
    ("metrics.sagemaker", "sagemaker"),
    ("migrationhub-config", "mgh"),
    ("models-v2-lex", "lex"),
    ("models.lex", "lex"),
    ("oidc", "sso-oauth"),
    ("participant.connect", "execute-api"),
    ("partnercentral-prm", "partnercentral"),
    ("personalize-events", "personalize"),
    ("personalize-runtime", "personalize"),
    ("pinpoint", "mobiletargeting"),
    ("portal.sso", "awsssoportal"),
    ("query.timestream", "timestream"),
    ("reporting-marketplace", "aws-marketplace"),
    ("runtime-v2-lex", "lex"),
    ("runtime.lex", "lex"),
    ("runtime.sagemaker", "sagemaker"),
    ("servicecatalog-appregistry", "servicecatalog"),
    ("sms-voice.pinpoint", "sms-voice"),
    ("streams.dynamodb", "dynamodb"),
    ("sync-states", "states"),
    ("training-session-runtime.sagemaker", "sagemaker"),
    ("voice-chime", "chime"),
];

/// Services with a host for each resource: the last label in front of the region, and the name in signatures.
const OF_RESOURCES: [(&str, &str); 8] = [
    ("appsync-api", "appsync"),
    ("control-kinesis", "kinesis"),
    ("data-kinesis", "kinesis"),
    ("ddb", "dynamodb"),
    ("execute-api", "execute-api"),
    ("iot", "iotdata"),
    ("lambda-url", "lambda"),
    ("s3-control", "s3"),
];

/// What a host name, in lower case, tells about region and service.
pub(crate) fn scope_of(host: &str) -> Scope {
    tell(host).unwrap_or_default()
}

fn tell(host: &str) -> Option<Scope> {
    let (front, global_region) = DOMAINS.iter().find_map(|(domain, region)| {
        let front = host.strip_suffix(domain)?.strip_suffix('.')?;
        Some((front, *region))
    })?;
    let mut labels: Vec<&str> = front.split('.').collect();
    // A VPC endpoint: `vpce-….ecs.eu-west-1.vpce`, with an optional zone in the first label.
    if labels.last() == Some(&"vpce") {
        labels.pop();
        if labels.first().is_some_and(|label| label.starts_with("vpce-")) {
            labels.remove(0);
        }
    }
    let Some(at) = labels.iter().rposition(|label| is_region(label)) else {
        return without_region(&labels, global_region);
    };
    let region = Some((*labels.get(at)?).to_owned());
    let (before, behind) = (labels.get(..at)?, labels.get(at + 1..)?);
    let service = match behind {
        [] => service_of(before),
        // `search-….eu-west-1.es`, `….eu-west-1.aoss`, `doc-….eu-west-1.cloudsearch`
        [service @ ("es" | "aoss" | "cloudsearch")] => Some((*service).to_owned()),
        _ => None,
    };
    Some(Scope { region, service })
}

/// `eu-west-1`, `us-gov-east-1`: words, then a number of one digit.
fn is_region(label: &str) -> bool {
    let parts: Vec<_> = label.split('-').collect();
    let [area, words @ .., number] = parts.as_slice() else {
        return false;
    };
    let letters = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase());
    let number = matches!(number.as_bytes(), [digit] if digit.is_ascii_digit());
    // `eusc` is the European sovereign cloud; every other area has two letters.
    number
        && (area.len() == 2 || *area == "eusc")
        && letters(area)
        && !words.is_empty()
        && words.iter().all(|w| letters(w))
}

fn service_of(labels: &[&str]) -> Option<String> {
    let plain: Vec<&str> = labels
        .iter()
        .filter(|label| !matches!(**label, "dualstack" | "fips"))
        .map(|label| label.strip_suffix("-fips").or_else(|| label.strip_prefix("fips-")).unwrap_or(label))
        .collect();
    let last = *plain.last()?;
    // Buckets stand in front: their names may hold dots, and may look like anything.
    if matches!(last, "s3" | "s3-accesspoint") {
        return Some("s3".to_owned());
    }
    if matches!(last, "s3-outposts" | "s3-object-lambda") {
        return Some(last.to_owned());
    }
    if last.starts_with("s3express-") {
        return Some("s3express".to_owned());
    }
    let whole = plain.join(".");
    if let Some((_, service)) = RENAMED.iter().find(|(front, _)| *front == whole) {
        return Some((*service).to_owned());
    }
    match plain.as_slice() {
        ["s3-control"] => Some("s3".to_owned()),
        [service] => Some((*service).to_owned()),
        [.., last] => OF_RESOURCES.iter().find(|(label, _)| label == last).map(|(_, service)| (*service).to_owned()),
        [] => None,
    }
}

fn without_region(labels: &[&str], global_region: &str) -> Option<Scope> {
    let whole = labels.join(".");
    let name = |service: &str, region: &str| {
        Some(Scope { region: Some(region.to_owned()), service: Some(service.to_owned()) })
    };
    // `s3-eu-west-1`, the old form.
    let last = *labels.last()?;
    if let Some(region) = last.strip_prefix("s3-").filter(|region| is_region(region)) {
        return name("s3", region);
    }
    if last == "s3-accelerate" || whole.ends_with("s3-accelerate.dualstack") {
        return Some(Scope { region: None, service: Some("s3".to_owned()) });
    }
    if last == "s3" {
        return name("s3", global_region);
    }
    match whole.as_str() {
        "iam.us-gov" => name("iam", "us-gov-west-1"),
        "route53.us-gov" => name("route53", "us-gov-west-1"),
        "global.health" => name("health", global_region),
        "importexport" => name("IngestionService", global_region),
        "iam" | "sts" if global_region == "cn-northwest-1" => name(&whole, "cn-north-1"),
        "waf-fips" | "iam-fips" | "route53-fips" => name(whole.trim_end_matches("-fips"), global_region),
        service if GLOBAL.contains(&service) => name(service, global_region),
        // `iam.global.api.aws`
        _ => match labels {
            [service, "global"] => name(service, global_region),
            _ => None,
        },
    }
}

//! `prx:host/http-outbound`.

use airlock_core::{CapabilityKind, HttpRequest, LimitKind, ServiceError};
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower};

use super::{Guest, denial, enter, has, refusal};
use crate::abi::Dialect;
use crate::abi::prx::dialect::RESPONSE_IS_TUPLE;
use crate::store::CallState;

const PERMISSION: &str = "http-outbound";
const REQUEST: &str = "request";
const FUNCTION: &str = "http-outbound.request";

/// The methods that there are: those of PRX's code, and `OPTIONS` of its documents.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];

type Headers = Vec<(String, String)>;

/// What a server answered.
#[derive(Debug, ComponentType, Lift, Lower)]
#[component(record)]
struct Response {
    status: u16,
    headers: Headers,
    body: Vec<u8>,
}

/// Method, URL, headers and body.
type Asked = (String, String, Headers, Option<Vec<u8>>);

pub(super) fn link(interface: &mut LinkerInstance<'_, CallState>, dialect: Dialect) -> wasmtime::Result<()> {
    match has(dialect, RESPONSE_IS_TUPLE) {
        true => interface.func_wrap_async(REQUEST, |mut guest: Guest<'_>, asked: Asked| {
            Box::new(async move {
                let response = request(&mut guest, asked).await?;
                let tuple = |Response { status, headers, body }| (status, headers, body);
                Ok((response.map(tuple),))
            })
        }),
        false => interface.func_wrap_async(REQUEST, |mut guest: Guest<'_>, asked: Asked| {
            Box::new(async move { Ok((request(&mut guest, asked).await?,)) })
        }),
    }
}

async fn request(guest: &mut Guest<'_>, asked: Asked) -> wasmtime::Result<Result<Response, String>> {
    enter(guest, FUNCTION)?;
    let state = guest.data_mut();
    let prepared = match prepare(state, asked) {
        Ok(prepared) => prepared,
        Err(reason) => return Ok(Err(reason)),
    };
    let permit = match state.permit(prepared.need()) {
        Ok(permit) => permit,
        Err(ServiceError::Denied(_)) => return Ok(Err(not_allowed(prepared.url().as_str()))),
        Err(error) => return Ok(Err(failed(state, "request failed", &error)?)),
    };
    let maximum = permit.limits().value(LimitKind::HttpBody);
    let http = state.services().http.clone();
    let url = prepared.url().to_string();
    let response = match http.send(&permit, prepared).await {
        Ok(response) => response,
        // Where it leads to, or what address it has, is nothing that was granted.
        Err(ServiceError::Denied(capability)) => {
            return Ok(Err(format!("{}: `{capability}` is not granted", not_allowed(&url))));
        }
        Err(error) => return Ok(Err(failed(state, "request failed", &error)?)),
    };
    let status = response.status.as_u16();
    let text = |value: &[u8]| std::str::from_utf8(value).unwrap_or_default().to_owned();
    let headers = response
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
        .collect();
    match response.bytes(maximum).await {
        Ok(body) => Ok(Ok(Response { status, headers, body: body.to_vec() })),
        Err(error) => Ok(Err(failed(state, "body read error", &error)?)),
    }
}

/// A request that its manifest lets it make, and a permission for some.
fn prepare(state: &CallState, (method, url, headers, body): Asked) -> Result<HttpRequest, String> {
    if !state.plugin.standing().allows_any(CapabilityKind::Net) {
        return Err(denial(state, PERMISSION));
    }
    let method = method.to_ascii_uppercase();
    if !METHODS.contains(&method.as_str()) {
        return Err(format!("unsupported method: {}", airlock_core::visible(&method, false)));
    }
    let wrong = |error: ServiceError| format!("request failed: {error}");
    let mut request = HttpRequest::new(&method, &url).map_err(wrong)?;
    for (name, value) in &headers {
        request = request.header(name, value.as_bytes()).map_err(wrong)?;
    }
    let request = state.plugin.within_its_list(request).ok_or_else(|| not_allowed(&url))?;
    Ok(request.body(body.unwrap_or_default()))
}

fn not_allowed(url: &str) -> String {
    format!("URL not in allowlist: {}", airlock_core::visible(url, false))
}

fn failed(state: &mut CallState, what: &str, error: &ServiceError) -> wasmtime::Result<String> {
    Ok(format!("{what}: {}", refusal(state, FUNCTION, PERMISSION, error)?))
}

//! The pages of a node, fetched in the plainest way.

use std::net::SocketAddrV4;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The status and the body of a page, or why there is none.
pub(crate) async fn get(address: SocketAddrV4, path: &str) -> Result<(u16, String), String> {
    let failed = |error: std::io::Error| format!("http://{address}{path}: {error}");
    let mut stream = TcpStream::connect(address).await.map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("http://{address}{path}: no answer"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| format!("http://{address}{path}: {head}"))?, body.to_owned()))
}

/// The value of the metric `name` in a page of metrics: the sum over its labels.
pub(crate) fn metric(page: &str, name: &str) -> Option<f64> {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let rest = if rest.starts_with('{') { rest.split_once('}')?.1 } else { rest };
        rest.strip_prefix(' ')?.trim().parse::<f64>().ok()
    };
    page.lines().filter_map(value).reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_by_their_whole_name() {
        let page = "# HELP a_count b\n# TYPE a_count counter\na_count_more 7\na_count{b=\"c\"} 1.5\na_count 2\n";
        assert_eq!(metric(page, "a_count"), Some(3.5));
        assert_eq!(metric(page, "a"), None);
    }
}

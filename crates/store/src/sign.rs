//! Signatures of Amazon's version 4: an HMAC of what is asked for, by a key that is made of the secret, the day and the
//! region. <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln_util::Hex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};

use crate::credentials::Keys;
use crate::request::Request;

/// What is escaped in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What is escaped in a path.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Escapes a key for the path of a URL.
pub(crate) fn path(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

/// Escapes a value for the query of a URL.
pub(crate) fn query(value: &str) -> String {
    utf8_percent_encode(value, QUERY).to_string()
}

/// Adds the headers that sign a GET request. All headers that it has are signed.
pub(crate) fn sign(request: &mut Request, keys: &Keys, region: &str, time: SystemTime) {
    let stamp = stamp(time);
    let day = &stamp[..8];
    let nothing = Hex(digest::digest(&digest::SHA256, b"").as_ref()).to_string();
    request.add("x-amz-content-sha256", nothing.clone());
    request.add("x-amz-date", stamp.clone());
    if let Some(token) = &keys.token {
        request.add("x-amz-security-token", token.get().to_owned());
    }
    let (host, path, query) = request.parts();
    let mut headers: Vec<(&str, &str)> = vec![("host", host)];
    headers.extend(
        request
            .headers
            .iter()
            .map(|(name, value)| (*name, value.trim())),
    );
    headers.sort_unstable();
    let names = headers
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(";");
    let lines = headers.iter().fold(String::new(), |lines, (name, value)| {
        lines + name + ":" + value + "\n"
    });
    let mut parameters: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    parameters.sort_unstable();
    let canonical = format!(
        "GET\n{path}\n{}\n{lines}\n{names}\n{nothing}",
        parameters.join("&")
    );
    let scope = format!("{day}/{region}/s3/aws4_request");
    let hashed = Hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref()).to_string();
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}");
    let first = format!("AWS4{}", keys.secret.get()).into_bytes();
    let key = [day, region, "s3", "aws4_request"]
        .iter()
        .fold(first, |key, part| mac(&key, part));
    let signature = Hex(&mac(&key, &text)).to_string();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}",
        keys.id
    );
    request.add("authorization", authorization);
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// Formats a time in UTC, as `20130524T000000Z`.
fn stamp(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (year, month, day) = date((seconds / DAY) as i64);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Reads a time in UTC, as `2013-05-24T00:00:00Z`; fractions of seconds are left out.
pub(crate) fn time(text: &str) -> Option<SystemTime> {
    let number = |start: usize, end: usize| text.get(start..end)?.parse::<i64>().ok();
    let days = days(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds =
        days * DAY as i64 + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds.try_into().ok()?))
}

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Returns year, month and day of so many days since 1970-01-01, by the algorithm `civil_from_days` of
/// <https://howardhinnant.github.io/date_algorithms.html>.
const fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (
        year + era * 400 + if month <= 2 { 1 } else { 0 },
        month,
        day,
    )
}

/// Returns the number of days since 1970-01-01, the inverse of [`date`].
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Secret;

    /// Amazon's published examples:
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
    fn example(url: &str, headers: &[(&'static str, &str)]) -> String {
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            token: None,
        };
        let mut request = Request::get(url);
        for (name, value) in headers {
            request.add(name, (*value).to_owned());
        }
        sign(
            &mut request,
            &keys,
            "us-east-1",
            time("2013-05-24T00:00:00Z").unwrap(),
        );
        let (_, authorization) = request.headers.pop().unwrap();
        authorization
    }

    #[test]
    fn requests_are_signed_as_published() {
        assert_eq!(
            example(
                "https://examplebucket.s3.amazonaws.com/test.txt",
                &[("range", "bytes=0-9")]
            ),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let lifecycle = example("https://examplebucket.s3.amazonaws.com/?lifecycle=", &[]);
        assert!(
            lifecycle.ends_with("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            "{lifecycle}"
        );
        let list = example(
            "https://examplebucket.s3.amazonaws.com/?prefix=J&max-keys=2",
            &[],
        );
        assert!(
            list.ends_with("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
            "{list}"
        );
    }

    #[test]
    fn keys_are_escaped_as_amazon_does() {
        assert_eq!(path("a b/100%+ü~._-.tar"), "a%20b/100%25%2B%C3%BC~._-.tar");
        assert_eq!(query("a/b=c"), "a%2Fb%3Dc");
    }

    #[test]
    fn times_are_utc() {
        for (text, stamped) in [
            ("1970-01-01T00:00:00Z", "19700101T000000Z"),
            ("2000-02-29T23:59:59Z", "20000229T235959Z"),
            ("2100-03-01T12:34:56Z", "21000301T123456Z"),
            ("2026-12-31T01:02:03.5Z", "20261231T010203Z"),
        ] {
            assert_eq!(stamp(time(text).unwrap()), stamped);
        }
        assert_eq!(time("tomorrow"), None);
    }
}

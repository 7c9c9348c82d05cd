//! "Did you mean": the nearest of the names that exist.

/// Up to three of `known` that are close to `name`, nearest first.
///
/// Close means a Jaro-Winkler similarity of at least 0.7, or one containing the other.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let contains = !wanted.is_empty() && (lower.contains(&wanted) || wanted.contains(&lower));
            let score = strsim::jaro_winkler(&wanted, &lower).max(if contains { 0.8 } else { 0.0 });
            (score >= 0.7).then_some((score, candidate))
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.truncate(3);
    scored.into_iter().map(|(_, candidate)| candidate.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_comes_first() {
        let known = ["transform", "transfer", "count_tokens"];
        assert_eq!(nearest("tranform", known), ["transform", "transfer"]);
        assert_eq!(nearest("count", known), ["count_tokens"]);
        assert!(nearest("zzz", known).is_empty());
    }
}

//! What keys did, as JSON.

use serde::Serialize;
use utoipa::ToSchema;

use crate::store::UsageRow;

/// What a key did.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct Usage {
    /// By day and endpoint, the oldest day first.
    pub items: Vec<UsageDay>,
}

/// What a key did on one day for one endpoint.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct UsageDay {
    /// The day, in UTC.
    #[schema(format = Date)]
    pub day: String,
    /// The endpoint.
    pub endpoint: String,
    /// Requests that were admitted.
    pub admitted: i64,
    /// Requests that were refused although the key is known.
    pub refused: i64,
}

impl UsageDay {
    pub(in crate::admin) fn of(row: UsageRow) -> Self {
        Self { day: Self::date(row.day), endpoint: row.endpoint, admitted: row.admitted, refused: row.refused }
    }

    /// A day, counted from 1970, as a date.
    fn date(day: i64) -> String {
        let day = jiff::Timestamp::from_second(day.saturating_mul(86_400)).unwrap_or_default();
        day.strftime("%Y-%m-%d").to_string()
    }
}

/// What a key was used for, by day.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct DailyUsage {
    /// The day that the lists begin with.
    #[schema(format = Date)]
    pub first_day: String,
    /// Requests that were admitted, a number for each day up to today.
    pub admitted: Vec<i64>,
    /// Requests with this key that were refused, a number for each day up to today.
    pub refused: Vec<i64>,
}

impl DailyUsage {
    /// Of the key with this number, from rows of several keys.
    pub(in crate::admin) fn of(today: i64, days: u16, rows: &[(i64, UsageRow)], key: i64) -> Self {
        let first = today - i64::from(days) + 1;
        let (mut admitted, mut refused) = (vec![0; usize::from(days)], vec![0; usize::from(days)]);
        for (_, row) in rows.iter().filter(|(of, _)| *of == key) {
            let Some(index) = usize::try_from(row.day - first).ok().filter(|index| *index < admitted.len()) else {
                continue;
            };
            admitted[index] += row.admitted;
            refused[index] += row.refused;
        }
        Self { first_day: UsageDay::date(first), admitted, refused }
    }
}

//! What a document is worth when there is no room for all.

use super::Severity;

/// Least first: what is given up first. The numbers stand in the spool's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// What no rule finds worth an alert.
    Telemetry = 0,
    /// What the daemon says of itself, and of the host.
    State = 1,
    /// Alerts, by their severity.
    Low = 2,
    Medium = 3,
    High = 4,
    Critical = 5,
    /// That something was lost.
    Loss = 6,
}

impl Class {
    pub const ALL: [Self; 7] =
        [Self::Telemetry, Self::State, Self::Low, Self::Medium, Self::High, Self::Critical, Self::Loss];

    /// The class of an alert.
    pub const fn of_alert(severity: Severity) -> Self {
        match severity {
            Severity::Low => Self::Low,
            Severity::Medium => Self::Medium,
            Severity::High => Self::High,
            Severity::Critical => Self::Critical,
        }
    }

    /// The class with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|class| *class as u8 == number)
    }

    /// The name in counters and listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::State => "state",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
            Self::Loss => "loss",
        }
    }

    /// Whether a sink that wants only alerts wants it: alerts, and what tells that there may be some that nobody sees.
    pub const fn is_alert(self) -> bool {
        !matches!(self, Self::Telemetry | Self::State)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_their_classes() {
        for class in Class::ALL {
            assert_eq!(Class::from_number(class as u8), Some(class));
        }
        assert_eq!(Class::from_number(7), None);
    }
}

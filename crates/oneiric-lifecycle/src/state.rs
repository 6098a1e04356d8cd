//! The states of a slot and the moves between them, as one table.
//!
//! A slot's state is written in one place, [`SlotState::moved`], so that a state nobody foresaw
//! cannot appear in `status` at night.

use serde::Serialize;

/// Where a slot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SlotState {
    /// Nothing was ever built, or what was built is gone.
    #[default]
    Inactive,
    /// The first instance is being built and probed.
    Activating,
    /// An instance serves.
    Active,
    /// An instance serves while its successor is being built and probed.
    Swapping,
    /// The last activation failed and nothing serves.
    Failed,
    /// Shutting down: refuses new work, finishes what runs.
    Stopping,
    /// Shut down for good.
    Stopped,
}

/// What moves a slot from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// A transition begins.
    Begin,
    /// The new instance is published.
    Publish,
    /// The transition ends without a new instance.
    GiveUp,
    /// The instance is taken out of service and nothing takes its place.
    Deactivate,
    /// The process shuts down.
    Stop,
    /// The last instance is retired.
    Stopped,
}

impl SlotState {
    /// The state after `step`, or `None` where the table has no such move.
    pub(crate) const fn moved(self, step: Move) -> Option<Self> {
        Some(match (self, step) {
            (Self::Inactive | Self::Failed, Move::Begin) => Self::Activating,
            (Self::Active, Move::Begin) => Self::Swapping,
            (Self::Active, Move::Deactivate) => Self::Inactive,
            (Self::Activating | Self::Swapping, Move::Publish) | (Self::Swapping, Move::GiveUp) => {
                Self::Active
            }
            (Self::Activating, Move::GiveUp) => Self::Failed,
            // Whatever a transition under way still does, a slot that is going down stays so.
            (Self::Stopped, _) | (Self::Stopping, Move::Stopped) => Self::Stopped,
            (Self::Stopping, _) => Self::Stopping,
            (_, Move::Stop) => Self::Stopping,
            _ => return None,
        })
    }

    /// The name as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Swapping => "swapping",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p16_giving_up_a_swap_leads_back_to_active_and_giving_up_an_activation_to_failed() {
        assert_eq!(
            SlotState::Swapping.moved(Move::GiveUp),
            Some(SlotState::Active)
        );
        assert_eq!(
            SlotState::Activating.moved(Move::GiveUp),
            Some(SlotState::Failed)
        );
    }

    #[test]
    fn nothing_leads_out_of_stopped() {
        for step in [Move::Begin, Move::Publish, Move::GiveUp] {
            assert_eq!(
                SlotState::Stopped.moved(step),
                Some(SlotState::Stopped),
                "{step:?}"
            );
            assert_eq!(
                SlotState::Stopping.moved(step),
                Some(SlotState::Stopping),
                "{step:?}"
            );
        }
    }

    #[test]
    fn a_failed_slot_can_be_tried_again() {
        assert_eq!(
            SlotState::Failed.moved(Move::Begin),
            Some(SlotState::Activating)
        );
    }
}

//! Checks that tests on the host and in the test machine share.

pub mod ecs;

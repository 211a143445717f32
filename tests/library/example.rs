//! The example program does what it says.

use rotate::demo::{self, Lab};
use rotate::engine::report::{NewState, Verdict};

#[path = "../../examples/contain.rs"]
#[expect(dead_code, reason = "its `main` is not called from here")]
mod contain;

#[tokio::test]
async fn the_example_contains_a_role_of_the_demonstration() {
    let lab = Lab::start().await.unwrap();
    let (inventory, state) = (lab.inventory_path(), lab.state_dir());
    let report = contain::contain(&inventory, demo::ROLE, &state).await.unwrap();
    let of = |id: &str| report.credentials.iter().find(|one| one.id == id).unwrap();
    assert_eq!(of("mail-agent/mail-api").old.verdict, Verdict::Dead);
    assert_eq!(of("mail-agent/mail-api").new.state, NewState::Held);
    // One of its servers lies, and the report says so.
    assert_eq!(of("mail-agent/archive").old.verdict, Verdict::Alive);
    assert_eq!(report.exit_code, 4);
}

//! What people write into inventories, and what they are told.

use rotate::inventory::{Inventory, render};

/// The page a person sees, errors in TOML included.
fn told(text: &str) -> String {
    let problems = match Inventory::parse(text) {
        Ok(inventory) => inventory.problems,
        Err(problems) => problems.0,
    };
    render(&problems, "inventory.toml", text, false)
}

#[test]
fn scratch() {
    let text = include_str!("../inventory.example.toml");
    let inventory = Inventory::parse(text).unwrap();
    println!("{}", render(&inventory.problems, "x", text, false));
    println!("{:#?}", inventory.roles["mail-agent"].credentials[4]);
    println!(
        "{}",
        told(
            "[role.a]\nownr = 'x'\n\n[[role.a.credential]]\nname='é•' \nprovider='acme'\nsecret = { a = 'hunter2', b = 'env:X', c='sk-proj-abcDEF123456ghiJKL7890mno' } # ghp_0123456789abcdefghijABCDEFGHIJ012345\nadmin='nope'\n"
        )
    );
    println!("{}", told("[role.a\nsecret = hunter2 # x\nsecret = {a = hunter3, b=env:X}"));
    println!("{}", told("[role.a]\n[role.a]\nowner='x'\nowner='y'\n"));
}

//! `--format markdown`: the same words, and none that breaks out.

use crate::host::Host;

#[test]
fn a_report_for_a_ticket() {
    let host = Host::new();
    // Whoever holds an admin key can name a key so.
    host.acme.seed("| @everyone <img src=x onerror=alert(1)> [click](https://evil.example) `x");
    let ran = host.rotate(&["--role", "calendar", "--case", "INC-7 <b>", "--format", "markdown"]);
    insta::assert_snapshot!(host.redacted(&ran.stdout), @r#"
    ## contain of calendar, run `RUN`, case `INC-7 <b>`

    - begun `TIME`, finished `TIME`
    - owner `support@example.com`
    - can be handed new credentials by mail

    | Credential | Provider | Verdict | Old | New |
    |---|---|---|---|---|
    | `calendar/events` | acme | dead | `#FINGERPRINT` | held `KEY` |

    ### Roles

    - agent: not stopped by this run
    - evidence: none saved by this run

    ### How fast

    - first revocation accepted after N s, last after N s, last one proved dead after N s

    ### Unrecognised at the provider

    - `calendar/events`: `KEY`, label mail, created `TIME` (older, or undated): untouched
    - `calendar/events`: `KEY`, label rooms, created `TIME` (older, or undated): untouched
    - `calendar/events`: `KEY`, label `` | @everyone <img src=x onerror=alert(1)> [click](https://evil.example) `x ``, created `TIME` (older, or undated): untouched

    ### Left for a person

    1. [ ] mail stays alive: work and credentials were delegated to it; contain it too: rotate `--role` mail
    2. [ ] rooms stays alive: work and credentials were delegated to it; contain it too: rotate `--role` rooms

    ### Result

    - 1 dead; 1 replaced; 2 left to do
    - journal `sha256:HASH`
    - exit code 3: something is left, nothing is known to work
    "#);
    let again = host.rotate(&["report", "--format", "markdown"]);
    assert_eq!(again.stdout, ran.stdout);
}

#[test]
fn a_plan_for_a_ticket() {
    let host = Host::new();
    let ran = host.rotate(&["--role", "calendar", "--dry-run", "--format", "markdown"]);
    insta::assert_snapshot!(host.redacted(&ran.stdout), @r#"
    ## contain of calendar

    - owner: `support@example.com`
    - inventory: `sha256:HASH`
    - hosts: `127.0.0.1:PORT` (named by the inventory)
    - collateral: none

    | Credential | Provider | Kind | Level | Revoked by |
    |---|---|---|---|---|
    | `calendar/events` | acme | api-key | full, self | itself, else `admin.acme-admin` |

    ### `calendar/events`

    1. look at the old one
    2. revoke the old one
    3. issue a new one
    4. use the new one
    5. hold it under seal
    6. prove the old one dead by using it
    7. list what is left

    ### Warnings

    - mail can hand it new credentials
    - mail stays alive: it was delegated to
    - rooms stays alive: it was delegated to

    Nothing was touched.
    "#);
}

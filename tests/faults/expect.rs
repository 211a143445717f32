//! What a cell must come to, beyond what must hold of all: a fault that passes costs time and, at
//! most, what is told as lost; one that lasts keeps nothing alive that it does not stand before.

use crate::cell::Ran;
use crate::fault::{Blow, Fault, Times};
use crate::site::{ISSUE, PROBE, REVOKE, Site};

/// What this cell came to and must not.
pub(crate) fn unexpected(site: &dyn Site, blow: Option<Blow>, ran: &Ran) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let Some(blow) = blow else {
        must(replaced(ran) && proved(ran), "without a fault it is not all done");
        return wrong;
    };
    if blow.verb == Blow::CONNECTION {
        must(ran.verdict == "unproven", "nobody could see it, and something is said of it");
        return wrong;
    }
    let in_the_way = site.kill_needs().contains(&blow.verb);
    must(in_the_way || !ran.old_lives, "the kill was kept from what it does not need");
    if blow.times == Times::Always || is_a_word(site, &blow) {
        return wrong;
    }
    must(!ran.old_lives, "one fault that passed has kept the old one alive");
    match blow.verb {
        ISSUE if !site.lists() && blow.fault.leaves_open() => {
            must(ran.new == "not-issued" && ran.lost_is_told, "what may be lost is not told");
        }
        PROBE => must(replaced(ran), "one look that failed has cost the new one"),
        _ => {
            must(replaced(ran), "one fault that passed has cost the new one");
            must(proved(ran), "one fault that passed has cost the proof");
        }
    }
    wrong
}

fn replaced(ran: &Ran) -> bool {
    ran.new == "delivered"
}

/// Dead; or there was no look before the kill, for it waits two seconds and no longer, which a
/// machine with too much to do needs for less.
fn proved(ran: &Ran) -> bool {
    ran.verdict == "dead" || (ran.verdict == "unproven" && !ran.looked)
}

/// What reads as the server's own word on the request: a refusal that is none of its own, or a yes
/// to a revocation that it never heard. A run believes a no, and proves a yes.
fn is_a_word(site: &dyn Site, blow: &Blow) -> bool {
    match blow.fault {
        Fault::BlockPage(403) => true,
        // A page without a form is one where nothing has to be filled in.
        Fault::Garbage | Fault::Garbled | Fault::BlockPage(200) => {
            let executed = blow.fault.executes();
            let of_page = site.reads_pages() && blow.verb != PROBE;
            // A login that brings no token has refused whoever logged in.
            of_page || blow.verb == "login" || (blow.verb == REVOKE && !executed)
        }
        _ => false,
    }
}

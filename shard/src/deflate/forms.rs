//! Forms: what the schema-aware encoder keeps of each form of records.
//!
//! Promises: at most [`FORMS_MAX`] are kept; the one that was not used for longest goes, but none that was encoded wrong
//! while there are others.
//! Must not know: what is learnt.
use super::learned::Learned;
use crate::codec::Form;

/// Forms that are kept, 9 KiB each.
const FORMS_MAX: usize = 64;

/// What both encoders made of the same run.
#[derive(Clone, Copy, Default)]
pub(super) struct Trial {
    /// Bytes until both are tried again.
    pub(super) until: usize,
    /// Which one was better.
    pub(super) prefer_general: bool,
}

/// What is kept of one form.
pub(super) struct Known {
    pub(super) learned: Learned,
    /// Of short runs, and of long ones.
    pub(super) trials: [Trial; 2],
    /// Runs until one is decoded and compared.
    pub(super) until_verify: u32,
    /// The schema-aware encoder was wrong once: it is not asked again.
    pub(super) broken: bool,
}

impl Known {
    fn new() -> Known {
        Known { learned: Learned::new(), trials: [Trial::default(); 2], until_verify: 0, broken: false }
    }
}

/// All forms.
pub(super) struct Forms {
    /// With the time of their last use.
    used: Vec<(Form, u64)>,
    known: Vec<Known>,
    now: u64,
    last: usize,
}

impl Forms {
    pub(super) fn new() -> Forms {
        Forms { used: Vec::new(), known: Vec::new(), now: 0, last: 0 }
    }

    /// What is known of a form; of a new one nothing.
    pub(super) fn get(&mut self, form: Form) -> &mut Known {
        self.now += 1;
        if self.used.get(self.last).is_none_or(|&(last, _)| last != form) {
            self.last = self.find(form);
        }
        self.used[self.last] = (form, self.now);
        &mut self.known[self.last]
    }

    fn find(&mut self, form: Form) -> usize {
        if let Some(at) = self.used.iter().position(|&(other, _)| other == form) {
            return at;
        }
        if self.used.len() < FORMS_MAX {
            self.used.push((form, 0));
            self.known.push(Known::new());
            return self.used.len() - 1;
        }
        let age = |&at: &usize| (self.known[at].broken, self.used[at].1);
        let at = (0..FORMS_MAX).min_by_key(age).expect("INVARIANT: there are forms");
        self.known[at] = Known::new();
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_that_was_not_used_for_longest_goes() {
        let mut forms = Forms::new();
        for form in 0..FORMS_MAX as u32 {
            forms.get(Form(form)).until_verify = 1000 + form;
        }
        forms.get(Form(1)).broken = true;
        (2..FORMS_MAX as u32).for_each(|form| assert_eq!(forms.get(Form(form)).until_verify, 1000 + form));
        assert_eq!(forms.get(Form(0)).until_verify, 1000);
        // 1 was used longest ago, and is kept because it is broken; 2 goes.
        assert_eq!(forms.get(Form(500)).until_verify, 0);
        assert_eq!(forms.known.len(), FORMS_MAX);
        assert!(forms.get(Form(1)).broken);
        assert_eq!(forms.get(Form(3)).until_verify, 1003);
        assert_eq!(forms.get(Form(2)).until_verify, 0, "forgotten");
    }
}

//! Asking for what is not granted yet.
//!
//! [`Approval::settle`] is the one way from a plugin's requests to what it was granted: what
//! was decided before for these bytes holds; over the rest a [`Strategy`] decides, or has a
//! person asked by a [`Prompt`]; answers that last go into the [`GrantStore`].
//!
//! The strategies are those that sen-rs documents. One thing differs: what an older version
//! of a plugin was granted is no grant for a newer one, whatever either asks for, unless
//! [`Approval::carry_over`] says so.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    Capability, CapabilityKind, Error, Grant, GrantStore, Identity, Lasting, MemoryGrants, Request, Result,
};

/// What has to be decided.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who asks.
    pub plugin: &'a Identity,
    /// What it asks for and nobody decided over, in the manifest's order. Empty when it asks
    /// for nothing and its bytes are new.
    pub open: &'a [Request],
    /// What these bytes were granted already.
    pub granted: &'a [Capability],
    /// What other bytes of the same name were granted, when there were any.
    pub before: Option<&'a [Capability]>,
    /// Whether somebody can be asked.
    pub interactive: bool,
}

impl Question<'_> {
    /// Whether `capability` is more than what the bytes before had.
    pub fn is_new(&self, capability: &Capability) -> bool {
        self.before.is_some_and(|before| !before.iter().any(|had| had.covers(capability)))
    }

    /// Whether other bytes of the same name were granted less.
    pub fn is_escalation(&self) -> bool {
        self.open.iter().any(|request| self.is_new(&request.capability))
    }
}

/// What a strategy says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// All of it is granted and kept.
    Allow,
    /// These are granted and kept, the rest is denied.
    AllowSome(Vec<Capability>),
    /// None of it is granted, for this reason.
    Deny(String),
    /// A person decides.
    Ask,
}

/// Who decides what, before anybody is asked.
pub trait Strategy: Send + Sync + fmt::Debug {
    /// Over a plugin that is new.
    fn judge(&self, question: &Question<'_>) -> Verdict;

    /// Over one that had less before.
    fn judge_escalation(&self, question: &Question<'_>) -> Verdict {
        let _ = question;
        Verdict::Ask
    }
}

/// How a person is asked.
pub trait Prompt: Send + Sync + fmt::Debug {
    /// Whether there is somebody to ask.
    fn is_interactive(&self) -> bool;

    /// Asks, and returns a decision for each of the open requests; what is left out is denied
    /// for this time.
    ///
    /// # Errors
    /// When the answer cannot be read.
    fn ask(&self, question: &Question<'_>) -> Result<Vec<Grant>>;
}

impl<P: Prompt + ?Sized> Prompt for Arc<P> {
    fn is_interactive(&self) -> bool {
        (**self).is_interactive()
    }

    fn ask(&self, question: &Question<'_>) -> Result<Vec<Grant>> {
        (**self).ask(question)
    }
}

/// Asks whenever something is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standard;

impl Strategy for Standard {
    fn judge(&self, question: &Question<'_>) -> Verdict {
        if question.open.is_empty() { Verdict::Allow } else { Verdict::Ask }
    }
}

/// Asks also for a plugin that asks for nothing, once; denies where nobody can be asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Strict;

impl Strategy for Strict {
    fn judge(&self, question: &Question<'_>) -> Verdict {
        match question.interactive {
            true => Verdict::Ask,
            false => Verdict::Deny("nobody can be asked, and everything has to be granted before".to_owned()),
        }
    }
}

/// Grants what does not reach other hosts, and asks for what does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Permissive;

impl Strategy for Permissive {
    fn judge(&self, question: &Question<'_>) -> Verdict {
        let reaches_out =
            question.open.iter().any(|request| request.capability.kind() == CapabilityKind::Net);
        if reaches_out { Verdict::Ask } else { Verdict::Allow }
    }
}

/// Never asks: what was not granted before is denied.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ci;

impl Strategy for Ci {
    fn judge(&self, question: &Question<'_>) -> Verdict {
        match question.open {
            [] => Verdict::Allow,
            _ => Verdict::Deny("everything has to be granted before".to_owned()),
        }
    }

    fn judge_escalation(&self, _question: &Question<'_>) -> Verdict {
        Verdict::Deny("it asks for more than before, and everything has to be granted before".to_owned())
    }
}

/// Grants whatever anybody asks for.
#[derive(Debug, Clone, Copy)]
pub struct TrustAll(());

impl TrustAll {
    /// Every plugin gets all it asks for, on this and every later version of itself. Nothing
    /// that came from somewhere else should be loaded this way.
    pub fn new_dangerous() -> Self {
        TrustAll(())
    }
}

impl Strategy for TrustAll {
    fn judge(&self, _question: &Question<'_>) -> Verdict {
        Verdict::Allow
    }

    fn judge_escalation(&self, _question: &Question<'_>) -> Verdict {
        Verdict::Allow
    }
}

/// Nobody to ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn is_interactive(&self) -> bool {
        false
    }

    fn ask(&self, _question: &Question<'_>) -> Result<Vec<Grant>> {
        Ok(Vec::new())
    }
}

/// Gives one answer to everything and remembers the questions; for tests.
#[derive(Debug)]
pub struct RecordingPrompt {
    answer: Option<Lasting>,
    asked: Mutex<Vec<RecordedQuestion>>,
}

/// A question as it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedQuestion {
    /// Who asked.
    pub plugin: Identity,
    /// For what.
    pub open: Vec<Capability>,
    /// Whether other bytes of the same name had less.
    pub escalation: bool,
}

impl RecordingPrompt {
    /// Allows everything for so long, or with `None` denies everything.
    pub fn new(answer: Option<Lasting>) -> Self {
        RecordingPrompt { answer, asked: Mutex::default() }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<RecordedQuestion> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Prompt for RecordingPrompt {
    fn is_interactive(&self) -> bool {
        true
    }

    fn ask(&self, question: &Question<'_>) -> Result<Vec<Grant>> {
        let open: Vec<Capability> = question.open.iter().map(|request| request.capability.clone()).collect();
        let grants = open.iter().filter_map(|capability| {
            Some(Grant { capability: capability.clone(), allowed: true, lasting: self.answer? })
        });
        let grants = grants.collect();
        let escalation = question.is_escalation();
        let plugin = question.plugin.clone();
        let record = RecordedQuestion { plugin, open, escalation };
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        Ok(grants)
    }
}

/// Who is asked, who decides, and where it is kept.
#[derive(Debug, Clone)]
pub struct Approval {
    store: Arc<dyn GrantStore>,
    strategy: Arc<dyn Strategy>,
    prompt: Arc<dyn Prompt>,
    carry_over: bool,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// What is granted.
    pub granted: Vec<Capability>,
    /// What of it is granted for this once, and kept nowhere.
    pub once: Vec<Capability>,
    /// Why the rest is not, when a strategy said so.
    pub reason: Option<String>,
}

impl Approval {
    /// Grants kept there; [`Standard`]; nobody to ask.
    pub fn new(store: Arc<dyn GrantStore>) -> Self {
        Approval { store, strategy: Arc::new(Standard), prompt: Arc::new(NoPrompt), carry_over: false }
    }

    /// Asks a person, for commands at a terminal.
    pub fn interactive(store: Arc<dyn GrantStore>, prompt: impl Prompt + 'static) -> Self {
        Approval::new(store).prompt(prompt)
    }

    /// Asks a person about every plugin, and denies where nobody can be asked.
    pub fn strict(store: Arc<dyn GrantStore>, prompt: impl Prompt + 'static) -> Self {
        Approval::interactive(store, prompt).strategy(Strict)
    }

    /// Grants what does not reach other hosts, and asks a person about what does.
    pub fn permissive(store: Arc<dyn GrantStore>, prompt: impl Prompt + 'static) -> Self {
        Approval::interactive(store, prompt).strategy(Permissive)
    }

    /// Grants everything that anybody asks for, and keeps it in memory.
    pub fn trust_all_dangerous() -> Self {
        Approval::new(Arc::new(MemoryGrants::new())).strategy(TrustAll::new_dangerous())
    }

    /// Denies what was not granted before, for builds and servers.
    pub fn ci(store: Arc<dyn GrantStore>) -> Self {
        Approval::new(store).strategy(Ci)
    }

    /// Allows everything and keeps it in memory, for tests.
    pub fn testing() -> Self {
        Approval::new(Arc::new(MemoryGrants::new())).prompt(RecordingPrompt::new(Some(Lasting::Session)))
    }

    /// Who decides.
    #[must_use]
    pub fn strategy(mut self, strategy: impl Strategy + 'static) -> Self {
        self.strategy = Arc::new(strategy);
        self
    }

    /// Who is asked.
    #[must_use]
    pub fn prompt(mut self, prompt: impl Prompt + 'static) -> Self {
        self.prompt = Arc::new(prompt);
        self
    }

    /// Whether new bytes that ask for no more than those before keep what they had.
    #[must_use]
    pub fn carry_over(mut self, carry_over: bool) -> Self {
        self.carry_over = carry_over;
        self
    }

    /// Where decisions are kept.
    pub fn store(&self) -> &Arc<dyn GrantStore> {
        &self.store
    }

    /// What `plugin` is granted of what it asks for, once everybody who has to was asked.
    ///
    /// # Errors
    /// When the store or the prompt fails. A denial is no error here: whether the plugin can
    /// do without is its [`Policy`](crate::Policy)'s to say.
    pub fn settle(&self, plugin: &Identity, requests: &[Request]) -> Result<Settled> {
        let decided = self.store.decided(plugin)?;
        let known = decided.is_some();
        let decided = decided.unwrap_or_default();
        let allowed = |grants: &[Grant]| -> Vec<Capability> {
            grants.iter().filter(|grant| grant.allowed).map(|grant| grant.capability.clone()).collect()
        };
        let mut granted = allowed(&decided);
        let open: Vec<Request> = requests
            .iter()
            .filter(|request| !granted.iter().any(|had| had.covers(&request.capability)))
            .filter(|request| !decided.iter().any(|grant| grant.capability == request.capability))
            .cloned()
            .collect();
        let settled = |granted: Vec<Capability>, reason| Settled { granted, once: Vec::new(), reason };
        if known && open.is_empty() {
            return Ok(settled(granted, None));
        }

        let before = self.store.decided_before(plugin)?.map(|grants| allowed(&grants));
        let interactive = self.prompt.is_interactive();
        let question =
            Question { plugin, open: &open, granted: &granted, before: before.as_deref(), interactive };
        let keeps = self.carry_over && before.is_some() && !question.is_escalation();
        let verdict = match (keeps, question.is_escalation()) {
            (true, _) => Verdict::Allow,
            (_, true) => self.strategy.judge_escalation(&question),
            (_, false) => self.strategy.judge(&question),
        };
        let always =
            |allowed: bool, capability: Capability| Grant { capability, allowed, lasting: Lasting::Always };
        let all = || open.iter().map(|request| request.capability.clone());
        let (decisions, by): (Vec<Grant>, &str) = match verdict {
            Verdict::Allow if keeps => (all().map(Grant::always).collect(), "earlier version"),
            Verdict::Allow => (all().map(Grant::always).collect(), "strategy"),
            Verdict::AllowSome(some) => {
                let judged = |capability: Capability| {
                    always(some.iter().any(|one| one.covers(&capability)), capability)
                };
                (all().map(judged).collect(), "strategy")
            }
            Verdict::Deny(reason) => return Ok(settled(granted, Some(reason))),
            Verdict::Ask if !interactive => return Ok(settled(granted, None)),
            Verdict::Ask => (self.prompt.ask(&question)?, "prompt"),
        };
        self.store.decide(plugin, &decisions, by)?;
        granted.extend(allowed(&decisions));
        let once = decisions.into_iter().filter(|grant| grant.lasting == Lasting::Once).collect::<Vec<_>>();
        Ok(Settled { granted, once: allowed(&once), reason: None })
    }
}

/// The arguments that grant these, quoted for a shell: `--allow clock --allow 'exec=git *'`.
pub fn allow_arguments<'a>(capabilities: impl IntoIterator<Item = &'a Capability>) -> String {
    let arguments = capabilities
        .into_iter()
        .map(|capability| format!("--allow {}", crate::shell_quoted(&capability.to_string())));
    arguments.collect::<Vec<_>>().join(" ")
}

impl Settled {
    /// The error for what is required and not granted, with the whole line that grants what is
    /// `missing`. With nothing missing it is another reason, which stays as it is.
    pub fn explain(&self, denied: Error, missing: &[Capability]) -> Error {
        if missing.is_empty() {
            return denied;
        }
        let line = allow_arguments(missing);
        match &self.reason {
            Some(reason) => denied.with_hint(format!("{reason}; `{line}` grants it")),
            None => denied.with_hint(format!("`{line}` grants it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        Approval, Ci, Permissive, Question, RecordingPrompt, Strategy, Strict, TrustAll, Verdict,
        allow_arguments,
    };
    use crate::{Capability, Digest, Grant, GrantStore, Identity, Lasting, MemoryGrants, Request};

    fn plugin(bytes: &str) -> Identity {
        Identity { name: "a".to_owned(), digest: Digest::of(bytes.as_bytes()) }
    }

    fn requests(texts: &[&str]) -> Vec<Request> {
        let request = |text: &&str| Request { capability: text.parse().expect("valid"), required: true };
        texts.iter().map(request).collect()
    }

    struct Desk {
        store: Arc<MemoryGrants>,
        prompt: Arc<RecordingPrompt>,
        approval: Approval,
    }

    fn desk(answer: Option<Lasting>) -> Desk {
        let store = Arc::new(MemoryGrants::new());
        let prompt = Arc::new(RecordingPrompt::new(answer));
        let approval = Approval::new(store.clone()).prompt(prompt.clone());
        Desk { store, prompt, approval }
    }

    impl Desk {
        fn granted(&self, bytes: &str, asked: &[&str]) -> Vec<String> {
            let settled = self.approval.settle(&plugin(bytes), &requests(asked)).expect("memory works");
            settled.granted.iter().map(Capability::to_string).collect()
        }

        fn with(mut self, strategy: impl Strategy + 'static) -> Self {
            self.approval = self.approval.strategy(strategy);
            self
        }
    }

    #[test]
    fn what_is_granted_for_always_is_asked_once() {
        let desk = desk(Some(Lasting::Always));
        assert_eq!(desk.granted("1", &["clock"]), ["clock"]);
        assert_eq!(desk.granted("1", &["clock"]), ["clock"]);
        assert_eq!(desk.prompt.asked().len(), 1);
        assert_eq!(desk.granted("1", &["clock", "random"]), ["clock", "random"]);
        assert_eq!(desk.prompt.asked()[1].open, [Capability::all_of(crate::CapabilityKind::Random)]);
    }

    #[test]
    fn what_is_granted_once_is_asked_again() {
        let desk = desk(Some(Lasting::Once));
        for _ in 0..2 {
            assert_eq!(desk.granted("1", &["clock"]), ["clock"]);
        }
        assert_eq!(desk.prompt.asked().len(), 2);
    }

    #[test]
    fn new_bytes_inherit_nothing() {
        let desk = desk(Some(Lasting::Always));
        desk.granted("1", &["clock"]);
        desk.granted("2", &["clock"]);
        let asked = desk.prompt.asked();
        assert_eq!((asked.len(), asked[1].escalation), (2, false));
        let kept = Desk { approval: desk.approval.clone().carry_over(true), ..desk };
        assert_eq!(kept.granted("3", &["clock"]), ["clock"]);
        assert_eq!(kept.prompt.asked().len(), 2, "an operator chose that it keeps what it had");
        assert_eq!(kept.granted("4", &["clock", "random"]), ["clock", "random"]);
        assert!(kept.prompt.asked()[2].escalation);
    }

    #[test]
    fn read_to_write_is_an_escalation_and_a_dropped_capability_is_none() {
        let desk = desk(Some(Lasting::Always));
        desk.granted("1", &["fs.read=data", "clock"]);
        desk.granted("2", &["fs.write=data"]);
        desk.granted("3", &["fs.read=data"]);
        let escalations: Vec<bool> = desk.prompt.asked().iter().map(|asked| asked.escalation).collect();
        assert_eq!(escalations, [false, true, false]);
    }

    #[test]
    fn nobody_to_ask_grants_nothing_and_keeps_nothing() {
        let store = Arc::new(MemoryGrants::new());
        let settled =
            Approval::new(store.clone()).settle(&plugin("1"), &requests(&["clock"])).expect("works");
        assert!(settled.granted.is_empty());
        assert_eq!(store.decided(&plugin("1")).expect("readable"), None);
    }

    #[test]
    fn a_plugin_that_asks_for_nothing_is_asked_about_by_the_strict_alone() {
        let standard = desk(None);
        standard.granted("1", &[]);
        assert!(standard.prompt.asked().is_empty());
        let strict = desk(None).with(Strict);
        strict.granted("1", &[]);
        strict.granted("1", &[]);
        assert_eq!(strict.prompt.asked().len(), 1);
    }

    #[test]
    fn the_permissive_ask_for_the_network_and_the_ci_for_nothing() {
        let permissive = desk(None).with(Permissive);
        assert_eq!(permissive.granted("1", &["exec=git"]), ["exec=git"]);
        assert_eq!(permissive.granted("2", &["net=*"]), [""; 0]);
        assert_eq!(permissive.prompt.asked().len(), 1);

        let ci = desk(Some(Lasting::Always)).with(Ci);
        assert_eq!(ci.granted("1", &["clock"]), [""; 0]);
        ci.store
            .decide(&plugin("1"), &[Grant::always("clock".parse().expect("valid"))], "before")
            .expect("kept");
        assert_eq!(ci.granted("1", &["clock"]), ["clock"]);
        assert_eq!(ci.granted("2", &[]), [""; 0], "a dropped capability is no escalation");
        let settled = ci.approval.settle(&plugin("3"), &requests(&["random"])).expect("works");
        assert_eq!(
            settled.reason.as_deref(),
            Some("it asks for more than before, and everything has to be granted before")
        );
        assert!(ci.prompt.asked().is_empty());
    }

    #[test]
    fn the_trusting_allow_escalations() {
        let desk = desk(None).with(TrustAll::new_dangerous());
        assert_eq!(desk.granted("1", &["clock"]), ["clock"]);
        assert_eq!(desk.granted("2", &["exec=*"]), ["exec=*"]);
    }

    #[test]
    fn what_is_allowed_in_part_is_denied_in_the_rest() {
        #[derive(Debug)]
        struct ClockOnly;
        impl Strategy for ClockOnly {
            fn judge(&self, _question: &Question<'_>) -> Verdict {
                Verdict::AllowSome(vec!["clock".parse().expect("valid")])
            }
        }
        let desk = desk(None).with(ClockOnly);
        assert_eq!(desk.granted("1", &["clock", "exec=*"]), ["clock"]);
        let decided = desk.store.decided(&plugin("1")).expect("readable").expect("decided");
        assert_eq!(decided.iter().map(|grant| grant.allowed).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn the_line_that_grants_is_quoted_for_a_shell() {
        let asked = requests(&["clock", "exec=git *"]);
        let line = allow_arguments(asked.iter().map(|request| &request.capability));
        assert_eq!(line, "--allow clock --allow 'exec=git *'");
    }
}

//! What an operator can do to exchanges and bindings, for which `rabbitmqctl` has no commands of its own.

use anyhow::ensure;
use crewcall_dev_broker::DevBroker;

/// The exchanges and bindings of one virtual host.
#[derive(Clone, Copy)]
pub struct Routing<'a> {
    /// Its node.
    pub node: &'a DevBroker,
    /// Its name.
    pub vhost: &'a str,
}

impl Routing<'_> {
    /// Removes a binding.
    ///
    /// # Errors
    ///
    /// When there is none, or the broker does not answer.
    pub async fn unbind(self, exchange: &str, queue: &str, key: &str) -> anyhow::Result<()> {
        let (source, queue) = (self.resource("exchange", exchange), self.resource("queue", queue));
        self.eval(&format!("rabbit_binding:remove({{binding, {source}, <<\"{key}\">>, {queue}, []}}, {BY})."))
            .await
    }

    /// Removes one of the bindings by a key, whatever it leads to.
    ///
    /// # Errors
    ///
    /// When there is none, or the broker does not answer.
    pub async fn unbind_any(self, exchange: &str, key: &str) -> anyhow::Result<()> {
        let source = self.resource("exchange", exchange);
        self.eval(&format!(
            "case [B || B <- rabbit_binding:list_for_source({source}), element(3, B) =:= <<\"{key}\">>] of \
             [] -> none; [B | _] -> rabbit_binding:remove(B, {BY}) end."
        ))
        .await
    }

    /// Removes all bindings of these exchanges, at once.
    ///
    /// # Errors
    ///
    /// When one cannot be removed, or the broker does not answer.
    pub async fn unbind_all(self, exchanges: &[&str]) -> anyhow::Result<()> {
        let bindings = "B <- rabbit_binding:list_for_source(E)";
        self.for_each(exchanges, &format!("[ok = rabbit_binding:remove(B, {BY}) || {bindings}]")).await
    }

    /// Deletes exchanges with all their bindings, at once.
    ///
    /// # Errors
    ///
    /// When there is none of one of these names, or the broker does not answer.
    pub async fn delete(self, exchanges: &[&str]) -> anyhow::Result<()> {
        self.for_each(exchanges, &format!("ok = rabbit_exchange:delete(E, false, {BY})")).await
    }

    async fn for_each(self, exchanges: &[&str], action: &str) -> anyhow::Result<()> {
        let resources: Vec<String> =
            exchanges.iter().map(|exchange| self.resource("exchange", exchange)).collect();
        self.eval(&format!("[{action} || E <- [{}]], ok.", resources.join(", "))).await
    }

    fn resource(self, kind: &str, name: &str) -> String {
        format!("{{resource, <<\"{}\">>, {kind}, <<\"{name}\">>}}", self.vhost)
    }

    async fn eval(self, program: &str) -> anyhow::Result<()> {
        let answer = self.node.ctl(&["eval", program]).await?;
        ensure!(answer == "ok", "{program} answers {answer}");
        Ok(())
    }
}

/// Who the broker writes down for it.
const BY: &str = "<<\"operator\">>";

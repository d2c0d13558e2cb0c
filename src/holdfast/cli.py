"""The `holdfast` command. Exit status: 0 done, 1 failed, 2 wrong usage or settings."""

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from holdfast import __version__

# Only the module of the command that is called is imported: the rest would cost a second each time.
GROUPS = {
    "merchants": ("merchants:app", "Merchants: who they are."),
    "destinations": ("destinations:app", "Destinations: where notifications go."),
    "numbers": ("numbers:app", "Numbers: which there are, whose, and where."),
    "plans": ("plans:app", "Call plans: who answers a number, when, and what callers are told."),
    "twilio": ("twilio:app", "Twilio: its subaccounts."),
    "calls": ("calls:app", "Calls: what became of each, and every callback about it."),
    "voicemails": ("calls:voicemails_app", "Voicemails: what callers left."),
    "texts": ("texts:app", "Texts: sending them through the gate, what became of each, policies and templates."),
    "events": ("events:app", "Events: every webhook received, and what became of it."),
    "lanes": ("events:lanes_app", "Lanes: which event types matter most."),
    "deliveries": ("deliveries:app", "Deliveries: every notification, each try of it, dead letters."),
    "queue": ("queue:app", "The queue: how much waits, since when, how fast it goes."),
    "levers": ("levers:app", "Levers: what an operator turns while it runs, and who turned what."),
    "signals": ("signals:app", "Signals: what is measured, by names that guards use."),
    "alerts": ("alerts:app", "Alerts: what health_watch sees, and what is kept quiet."),
    "status": ("status:app", "The public status page: what it says, publishing, subscribers, files."),
    "reports": ("reports:app", "Reports: what merchants and customers say, as evidence."),
    "incidents": ("incidents:app", "Incidents: what needs people now, and how to work on it."),
    "complaints": ("complaints:app", "Complaints: who got texts that they did not want, and what is done about it."),
    "people": ("people:app", "People: who works on incidents."),
    "rota": ("people:rota_app", "The rota: whose week it is."),
    "runbooks": ("runbooks:app", "Runbooks: what is done in an incident, by whom or by itself."),
    "reviews": ("review:app", "Reviews of incidents: root cause, action items, plots, trends."),
    "payments": ("payments:app", "The payments ledger: the newest state of each payment."),
    "text-reviews": ("text_reviews:app", "Doubtful texts from people: reading and judging them."),
    "consent": ("consent:app", "Consent: the ledger of what people agreed to, its proof, and erasure."),
    "suppressions": ("suppressions:app", "Suppressions: who may not be texted, by whom, and why."),
    "contacts": ("contacts:app", "Contacts: importing people and their consents from files."),
    "voice": ("voice_work:app", "Voice: how calls go through, what Twilio says of them."),
    "audit": ("audit:app", "The audit: texts that went out without consent, after a stop, or around the gate."),
    "db": ("run:db_app", "The database's schema."),
}
COMMANDS = {
    "up": ("run:up", "Run everything: web, workers, watch, embedded PostgreSQL."),
    "web": ("run:web", "Run one web process: doors, health and metrics."),
    "worker": ("run:worker", "Run one worker process: routes and delivers."),
    "watch": ("run:watch", "Run health_watch: detectors and alerts."),
    "reconcile": ("reconcile:reconcile", "Compare with Stripe's event list; fetch what is missing."),
    "verify": ("verify:verify", "Prove that nothing received was lost, or list what needs a person."),
    "demo": ("demo:demo", "Everything at work on emulated Stripe traffic."),
}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"holdfast {__version__}")
        raise typer.Exit


def _top(
    _shown: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Holdfast carries payment events from Stripe to merchants, loses none, and keeps their calls answered.

    Settings are environment variables HOLDFAST_… or the same names in ./holdfast.toml; docs/settings.md lists them.
    """


class _Top(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            from holdfast.commands.session import report  # imported already, by whatever raised

            report(error)
            raise


def build(called: str | None) -> typer.Typer:
    """The command line, with the whole of the command that is `called` and only the names of the others."""
    app = typer.Typer(
        name="holdfast",
        cls=_Top,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        callback=_top,
    )
    for name, (place, help_text) in COMMANDS.items():
        app.command(name, short_help=help_text)(_load(place) if name == called else _nothing)
    for name, (place, help_text) in GROUPS.items():
        group = _load(place) if name == called else typer.Typer()
        app.add_typer(group, name=name, help=help_text, no_args_is_help=True)
    return app


def _load(place: str) -> typer.Typer:
    module, _, attribute = place.partition(":")
    found: typer.Typer = getattr(import_module(f"holdfast.commands.{module}"), attribute)
    return found


def _nothing() -> None:
    raise AssertionError("only the called command runs")


def main() -> None:
    called = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    build(called)()

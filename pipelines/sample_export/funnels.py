"""What people do: funnels of event types, and the library of scripts drawn from them.

A script is one course of a funnel with every value filled in but who, where and when, so that a row costs one lookup
and not thirty random draws. Messages to many people share a script as they share a campaign.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np

from pipelines.sample_export.values import ODD_PROPERTIES, Values
from transforms.currents import catalog

APP, PUSH, CONTACT = range(3)
KINDS = {"app": APP, "push": PUSH, "contact": CONTACT}
SCRIPTS = {APP: 1400, PUSH: 600, CONTACT: 1600}

# "@kind weight context", then one line a step: type without "users.", chance, typical delay in seconds, and xN for up
# to N tries; an indented step follows from the one above it. Types that stand in no funnel come once an export.
FUNNELS = """
@app 40 message
behaviors.app.SessionStart
  behaviors.CustomEvent 1 240 x5
  behaviors.Location .15 20
  messages.featureflag.Impression .1 5
  messages.inappmessage.Impression .25 15
    messages.inappmessage.Click .2 10
  messages.contentcard.Impression .25 30 x2
    messages.contentcard.Click .12 20
    messages.contentcard.Dismiss .06 20
  messages.banner.Impression .2 10
    messages.banner.Click .07 15
    messages.banner.Dismiss .07 15
  behaviors.Purchase .12 600 x3
  behaviors.app.SessionEnd .9 60
@app 2 plain
behaviors.pushnotification.TokenStateChange
@app 1 plain
behaviors.liveactivity.PushToStartTokenChange
  behaviors.liveactivity.UpdateTokenChange .5 60
@app 3 plain
profile.Update
@push 30 message
messages.pushnotification.Send
  messages.pushnotification.Open .12 3000
    behaviors.app.SessionStart .8 2
      behaviors.CustomEvent .8 60 x2
  messages.pushnotification.IosForeground .01 5
  messages.pushnotification.Bounce .02 3
    behaviors.Uninstall .3 300
@push 1 message
messages.pushnotification.Abort
@push 8 message
messages.contentcard.Send
@push 1 plain
messages.liveactivity.Send
  messages.liveactivity.Outcome .9 4
@contact 40 message
messages.email.Send
  messages.email.Delivery .96 12
    messages.email.Open .45 4000 x2
      messages.email.Click .15 40 x2
        behaviors.CustomEvent .5 60 x2
        campaigns.Conversion .06 900
      messages.email.Unsubscribe .01 60
        behaviors.subscription.GlobalStateChange .9 2
    messages.email.MarkAsSpam .003 2000
  messages.email.Bounce .01 20
  messages.email.SoftBounce .015 20
  messages.email.Deferral .02 30
@contact 10 message
messages.sms.Send
  messages.sms.CarrierSend .2 2
  messages.sms.Delivery .93 5
    messages.sms.ShortLinkClick .12 900
    messages.sms.InboundReceive .03 600
      behaviors.subscriptiongroup.StateChange .5 2
  messages.sms.DeliveryFailure .03 8
  messages.sms.Rejection .02 4
@contact 5 message
messages.whatsapp.Send
  messages.whatsapp.Delivery .95 4
    messages.whatsapp.Read .7 1200
      messages.whatsapp.Click .15 60
      messages.whatsapp.InboundReceive .08 120
  messages.whatsapp.Failure .03 5
@contact 2 message
messages.rcs.Send
  messages.rcs.Delivery .9 4
    messages.rcs.Read .6 900
      messages.rcs.Click .2 60
  messages.rcs.Rejection .05 4
@contact 1 message
messages.line.Send
  messages.line.Click .1 900
@contact 8 message
messages.webhook.Send
  messages.webhook.Failure .02 2
@contact 1 message
messages.email.Abort
@contact 12 canvas
canvas.Entry
  canvas.experimentstep.SplitEntry .3 5
    canvas.experimentstep.Conversion .1 5000
  canvasstep.Progression .8 10 x4
    messages.email.Send .5 20
      messages.email.Delivery .96 12
        messages.email.Open .4 4000
  canvas.Conversion .1 8000
  canvas.exit.PerformedEvent .1 9000
  canvas.exit.MatchedAudience .05 9000
@contact 2 campaign
campaigns.EnrollInControl
  campaigns.Conversion .1 4000
@contact 3 plain
profile.Update
@contact 1 plain
behaviors.subscriptiongroup.StateChange
@contact 1 plain
RandomBucketNumberUpdate
@contact 1 canvas
agentconsole.AgentExecuted
  agentconsole.ToolInvocation .7 1 x2
"""


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a funnel, with the steps that may follow from it."""

    event_type: str
    chance: float
    delay: float
    times: int
    follows: list[Step]


@dataclasses.dataclass(frozen=True)
class Funnel:
    kind: int
    weight: float
    context: str
    first: Step


def parse(text: str) -> list[Funnel]:
    """The funnels of the table above."""
    funnels: list[Funnel] = []
    head: tuple[int, float, str] = (APP, 1.0, "plain")
    above: list[Step] = []
    for line in filter(None, text.splitlines()):
        words = line.split()
        if line.startswith("@"):
            head = (KINDS[words[0][1:]], float(words[1]), words[2])
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        name = words[0] if words[0].startswith("agentconsole.") else "users." + words[0]
        times = int(words[3][1:]) if len(words) > 3 else 1
        chance, delay = (float(words[1]), float(words[2])) if len(words) > 2 else (1.0, 0.0)
        step = Step(name, chance, delay, times, [])
        del above[depth:]
        if above:
            above[-1].follows.append(step)
        else:
            funnels.append(Funnel(*head, step))
        above.append(step)
    return funnels


class Library:
    """Scripts as flat arrays: script ``s`` has the steps ``first[s]`` to ``first[s] + length[s]``.

    ``types`` is the catalogue's list of names, which ``step_type`` indexes; ``templates`` is indexed by step; ``of``
    names the scripts made for one purpose ("type:<event type>", "odd:<n>"); ``pool`` has the scripts of each kind.
    """

    def __init__(self, seed: int) -> None:
        self.types = list(catalog.event_types())
        self.templates: list[dict[str, Any]] = []
        self.of: dict[str, int] = {}
        self.pool: dict[int, tuple[int, int]] = {}
        self._number = {name: number for number, name in enumerate(self.types)}
        self._random = random.Random(seed)
        self._values = Values(self._random)
        self._types: list[int] = []
        self._delays: list[int] = []
        self._lengths: list[int] = []
        self._draw_pools()
        self._draw_certain()
        self.step_type = np.array(self._types, dtype=np.int16)
        self.step_delay = np.array(self._delays, dtype=np.int64)
        self.length = np.array(self._lengths, dtype=np.int64)
        self.first = np.concatenate(([0], np.cumsum(self.length)[:-1]))

    def _draw_pools(self) -> None:
        funnels = parse(FUNNELS)
        for kind, count in SCRIPTS.items():
            choices = [funnel for funnel in funnels if funnel.kind == kind]
            begin = len(self._lengths)
            for funnel in self._random.choices(choices, [funnel.weight for funnel in choices], k=count):
                context = self._values.context(funnel.context)
                before = len(self._types)
                self._walk(funnel.first, 0, context, before)
                self._lengths.append(len(self._types) - before)
            self.pool[kind] = (begin, len(self._lengths))

    def _walk(self, step: Step, since: int, context: dict[str, Any], begin: int) -> None:
        count = self._random.randint(0 if step.times > 2 else 1, step.times) if step.times > 1 else 1
        for _ in range(count):
            if self._random.random() >= step.chance:
                continue
            delay = since + (1 + int(self._random.expovariate(1 / step.delay)) if step.delay else 0)
            own: dict[str, Any] = {}
            if step.event_type == "users.behaviors.app.SessionEnd":
                delay = max(self._delays[begin:]) + self._random.randint(5, 90)
                own = {"duration": delay + self._random.randint(0, 9) / 10}
            self._append(step.event_type, delay, {**context, **own})
            for follow in step.follows:
                self._walk(follow, delay, context, begin)

    def _append(self, event_type: str, delay: int, context: dict[str, Any]) -> None:
        self._types.append(self._number[event_type])
        self._delays.append(delay)
        self.templates.append(self._values.template(event_type, context))

    def _single(self, purpose: str, event_types: list[str], own: dict[str, Any]) -> None:
        self.of[purpose] = len(self._lengths)
        for delay, event_type in enumerate(event_types):
            self._append(event_type, delay, {**self._values.context_for(event_type), **own})
        self._lengths.append(len(event_types))

    def _draw_certain(self) -> None:
        """Scripts that stand in every export: each type, the openings, and texts that are not what they should be."""
        for event_type in self.types:
            self._single("type:" + event_type, [event_type], {})
        session = "users.behaviors.app."
        self._single("first session", [session + "FirstSession", session + "SessionStart"], {})
        self._single("session", [session + "SessionStart"], {})
        self._single("email", ["users.messages.email.Send", "users.messages.email.Delivery"], {})
        for number, text in enumerate(ODD_PROPERTIES):
            self._single(f"odd:{number}", [catalog.CUSTOM_EVENT], {"properties": text})
        self._single("odd:name", [catalog.CUSTOM_EVENT], {"name": "Angebot „Frühling“ geöffnet 🌷 " + "lang " * 60})
        self._single("odd:purchase", [catalog.PURCHASE], {"properties": '["not", "an", "object"]'})
        self._single("odd:attributes", [catalog.PROFILE_UPDATE], {"custom_attributes": "{broken"})
        self._single("odd:machine", ["users.messages.email.Open"], {"machine_open": "true"})
        nobody = {"user_id": None, "external_user_id": None, "device_id": None}
        self._single("odd:nobody", ["users.messages.sms.InboundReceive"], nobody)

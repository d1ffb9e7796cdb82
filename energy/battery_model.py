"""How long a battery lasts: average currents of what a device does, and the charge that is there.

The battery loses charge by itself in proportion to what is left, the device draws an average
current, so the charge follows dQ/dt = -I - k·Q, and life = ln(1 + k·C / I) / k (C / I for k = 0).
Temperature, ageing, and the end of discharge below `usable` are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from energy.errors import EnergyError

HOURS_A_DAY = 24.0
DAYS_A_YEAR = 365.25
HOURS_A_YEAR = HOURS_A_DAY * DAYS_A_YEAR
_HOURS_A_MONTH = HOURS_A_YEAR / 12.0
PARTS = ("sleep", "waking", "inference", "fine-tuning", "commit", "radio")
SELF_DISCHARGE = "self-discharge"


@dataclass(frozen=True, slots=True)
class Joules:
    """An energy at the board's supply, in J, with its range."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Joules:
        """The energy of `factor` as much work."""
        return Joules(factor * self.value, factor * self.low, factor * self.high)


@dataclass(frozen=True)
class Battery:
    """`capacity_ah` A h of which the share `usable` counts; `self_discharge` as share a month.

    `voltage_v` is the mean while it discharges. Of the energy that leaves it the share `efficiency`
    arrives at the board's supply.
    """

    capacity_ah: float
    voltage_v: float = 3.7
    efficiency: float = 0.9
    usable: float = 1.0
    self_discharge: float = 0.01

    def charge_c(self, energy_j: float) -> float:
        """Charge in C that `energy_j` at the board's supply takes from the battery."""
        return energy_j / (self.voltage_v * self.efficiency)

    @property
    def usable_ah(self) -> float:
        """Charge that counts, in A h."""
        return self.capacity_ah * self.usable

    @property
    def loss_per_h(self) -> float:
        """k of dQ/dt = -k·Q, in 1/h: what is left after a month is 1 - `self_discharge`."""
        return -math.log1p(-self.self_discharge) / _HOURS_A_MONTH

    def life_h(self, current_a: float) -> float:
        """Hours until the usable charge is gone at an average `current_a`, in A."""
        if not current_a > 0:
            return math.inf
        k = self.loss_per_h
        return (
            math.log1p(k * self.usable_ah / current_a) / k if k > 0 else self.usable_ah / current_a
        )

    def current_for(self, life_h: float) -> float:
        """Average current in A that empties the battery in `life_h` hours: `life_h` the other way round."""
        k = self.loss_per_h
        return k * self.usable_ah / math.expm1(k * life_h) if k > 0 else self.usable_ah / life_h

    def left_ah(self, current_a: float, after_h: float) -> float:
        """Charge left after so many hours, in A h."""
        k = self.loss_per_h
        if not k > 0:
            return self.usable_ah - current_a * after_h
        return (self.usable_ah + current_a / k) * math.exp(-k * after_h) - current_a / k


@dataclass(frozen=True)
class Plan:
    """What the device does. Energies are at the board's supply, `sleep_a` at the battery.

    `wake_every_h`: hours from one waking to the next, inf for never; a waking takes `wake` and
    `inferences` times `inference`. `tune_every_h`: hours between fine-tunings of `tuning` each,
    with `commit` at the end; inf for never. `radio_a_day`: energy of the radio in a day.
    """

    sleep_a: float
    wake_every_h: float
    wake: Joules
    inferences: float
    inference: Joules
    tune_every_h: float
    tuning: Joules
    commit: Joules
    radio_a_day: Joules

    def currents(self, battery: Battery, which: str = "value") -> dict[str, float]:
        """Average current in A from the battery of each of `PARTS`; `which`: value, low or high.

        Time awake is so short that sleep is taken to last all the time.
        """

        def average(energy: Joules, every_h: float) -> float:
            return battery.charge_c(float(getattr(energy, which))) / (3600.0 * every_h)

        return {
            "sleep": self.sleep_a,
            "waking": average(self.wake, self.wake_every_h),
            "inference": average(self.inference.scaled(self.inferences), self.wake_every_h),
            "fine-tuning": average(self.tuning, self.tune_every_h),
            "commit": average(self.commit, self.tune_every_h),
            "radio": average(self.radio_a_day, HOURS_A_DAY),
        }


@dataclass(frozen=True)
class Life:
    """Life of `plan` on `battery`: years with range, average currents in A by part."""

    years: float
    low: float
    high: float
    currents: dict[str, float]
    charges_ah: dict[str, float]
    """What each part, and self-discharge, has taken when the battery is empty."""


def life_of(plan: Plan, battery: Battery) -> Life:
    """How long `battery` carries `plan`."""
    currents = plan.currents(battery)
    total_a = sum(currents.values())
    hours = battery.life_h(total_a)
    taken = {name: current * hours for name, current in currents.items()}
    taken[SELF_DISCHARGE] = max(0.0, battery.usable_ah - sum(taken.values()))
    ends = [
        battery.life_h(sum(plan.currents(battery, which).values())) for which in ("high", "low")
    ]
    return Life(
        hours / HOURS_A_YEAR, ends[0] / HOURS_A_YEAR, ends[1] / HOURS_A_YEAR, currents, taken
    )


@dataclass(frozen=True)
class Implied:
    """What a claimed life implies: average current, and the activity that is left beside sleep."""

    years: float
    average_a: float
    activity_a: float
    activity_without_self_discharge_a: float
    activity_j_a_day: float
    wakings_a_day: float
    awake_s_a_day: float


def implied_activity(years: float, plan: Plan, battery: Battery, awake_w: float) -> Implied:
    """The activity with which `battery` lasts `years`.

    `awake_w`: power of the awake board at its supply, in W. Raises `EnergyError` where sleep alone
    does not leave anything.
    """
    hours = years * HOURS_A_YEAR
    average_a = battery.current_for(hours)
    activity_a = average_a - plan.sleep_a
    if not activity_a > 0:
        raise EnergyError(
            f"in {years:g} years sleep at {1e6 * plan.sleep_a:.0f} uA and self-discharge take more than the battery holds; "
            "expected a larger --capacity-mah, a smaller --sleep-ua or fewer --claim-years"
        )
    plain = replace(battery, self_discharge=0.0).current_for(hours) - plan.sleep_a
    a_day_c = activity_a * 3600.0 * HOURS_A_DAY
    a_day_j = a_day_c * battery.voltage_v * battery.efficiency
    waking_j = plan.wake.value + plan.inferences * plan.inference.value
    return Implied(
        years=years,
        average_a=average_a,
        activity_a=activity_a,
        activity_without_self_discharge_a=plain,
        activity_j_a_day=a_day_j,
        wakings_a_day=a_day_j / waking_j if waking_j > 0 else math.inf,
        awake_s_a_day=a_day_j / awake_w,
    )


def what_if(
    plan: Plan, battery: Battery, methods: Mapping[str, Joules], method: str
) -> list[tuple[str, Plan, Battery]]:
    """Rows of the table: one thing different at a time. `methods`: energy of a fine-tuning by blocks."""
    day = HOURS_A_DAY
    rows: list[tuple[str, Plan, Battery]] = [("as planned", plan, battery)]

    def add(name: str, **changes: object) -> None:
        rows.append((name, replace(plan, **changes), battery))  # type: ignore[arg-type]

    for name, hours in (("daily", day), ("weekly", 7 * day), ("monthly", 30 * day)):
        add(f"fine-tune {name}, {method}", tune_every_h=hours)
    add("never fine-tune", tune_every_h=math.inf)
    base_h = plan.tune_every_h if math.isfinite(plan.tune_every_h) else 7 * day
    for name, energy in methods.items():
        if name != method:
            shown = "full (all blocks)" if name == "all" else name
            add(f"{shown}, every {base_h / day:g} days", tuning=energy, tune_every_h=base_h)
    for minutes in (1, 10, 60):
        add(f"wake every {minutes} min", wake_every_h=minutes / 60)
    add("sleep current × 2", sleep_a=2 * plan.sleep_a)
    add("sleep current ÷ 2", sleep_a=plan.sleep_a / 2)
    add("no inference", inferences=0.0)
    for share in (0.0, 0.03):
        rows.append(
            (
                f"self-discharge {100 * share:g} %/month",
                plan,
                replace(battery, self_discharge=share),
            )
        )
    return rows

"""Plan a dataset: where, when, which scenes, at what cost; metadata only, nothing is fetched that a build would use."""

from pipelines.plan.outlook import outlook_text
from pipelines.plan.whole import complete_plan, make_plan, plan_part

__all__ = ["complete_plan", "make_plan", "outlook_text", "plan_part"]

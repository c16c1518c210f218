"""Plans a dataset from metadata only: places, dates, scenes and cost."""

from pipelines.plan.lay import map_extract
from pipelines.plan.outlook import outlook_text
from pipelines.plan.report import plan_text, trouble
from pipelines.plan.whole import complete_plan, make_plan, plan_part

__all__ = [
    "complete_plan",
    "make_plan",
    "map_extract",
    "outlook_text",
    "plan_part",
    "plan_text",
    "trouble",
]

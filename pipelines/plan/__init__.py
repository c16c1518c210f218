"""Plans a dataset from metadata only: places, dates, scenes and cost."""

from pipelines.plan.dataset import complete_plan, make_plan, plan_part
from pipelines.plan.elsewhere import PlanWorker, end_planning, is_planning, plan_elsewhere
from pipelines.plan.outlook import outlook_text
from pipelines.plan.places import map_extract, vector_extracts
from pipelines.plan.report import plan_text, trouble

__all__ = [
    "PlanWorker",
    "complete_plan",
    "end_planning",
    "is_planning",
    "make_plan",
    "map_extract",
    "outlook_text",
    "plan_elsewhere",
    "plan_part",
    "plan_text",
    "trouble",
    "vector_extracts",
]

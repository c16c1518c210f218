"""The plan on disk: partitioned Parquet tables of samples, scenes, candidates and absences."""

from __future__ import annotations

from pipelines.tables.estimate import EngineCost as EngineCost
from pipelines.tables.estimate import Estimate as Estimate
from pipelines.tables.estimate import ProviderCost as ProviderCost
from pipelines.tables.estimate import added_up as added_up
from pipelines.tables.folders import PLAN_FILE as PLAN_FILE
from pipelines.tables.folders import PLAN_FOLDER as PLAN_FOLDER
from pipelines.tables.folders import WORK_FOLDER as WORK_FOLDER
from pipelines.tables.growing import PLACES as PLACES
from pipelines.tables.growing import Unfinished as Unfinished
from pipelines.tables.growing import growing_of as growing_of
from pipelines.tables.growing import unfinished_in as unfinished_in
from pipelines.tables.parts import ShardTable as ShardTable
from pipelines.tables.parts import check_whole as check_whole
from pipelines.tables.parts import facts_of as facts_of
from pipelines.tables.parts import files_of as files_of
from pipelines.tables.parts import read_part as read_part
from pipelines.tables.parts import read_shard as read_shard
from pipelines.tables.parts import read_shard_table as read_shard_table
from pipelines.tables.parts import write_part as write_part
from pipelines.tables.parts import write_samples as write_samples
from pipelines.tables.parts import write_shard_table as write_shard_table
from pipelines.tables.records import PLAN_VERSION as PLAN_VERSION
from pipelines.tables.records import CandidateKey as CandidateKey
from pipelines.tables.records import DamagedPlanError as DamagedPlanError
from pipelines.tables.records import Hrefs as Hrefs
from pipelines.tables.records import PartPlan as PartPlan
from pipelines.tables.records import PlanError as PlanError
from pipelines.tables.records import ShardPlan as ShardPlan
from pipelines.tables.summary import PlanSummary as PlanSummary
from pipelines.tables.summary import damaged as damaged
from pipelines.tables.summary import read_recipe_of as read_recipe_of
from pipelines.tables.summary import read_summary as read_summary
from pipelines.tables.summary import write_summary as write_summary
from pipelines.tables.tally import LayerFound as LayerFound
from pipelines.tables.tally import Why as Why
from pipelines.tables.tally import added as added
from pipelines.tables.tally import not_used as not_used
from pipelines.tables.tally import tally_of as tally_of
from pipelines.tables.tally import words_of as words_of
from pipelines.tables.texts import TEXTS as TEXTS
from pipelines.tables.texts import write_texts as write_texts

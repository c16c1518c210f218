"""The journal: work and cost of a run per shard, stored outside the dataset, for `status`, limits and logs."""

from pipelines.journal.log import log_of as log_of
from pipelines.journal.log import silent as silent
from pipelines.journal.prices import Prices as Prices
from pipelines.journal.prices import PricesError as PricesError
from pipelines.journal.prices import read_prices as read_prices
from pipelines.journal.recorder import Note as Note
from pipelines.journal.run import Journal as Journal
from pipelines.journal.run import JournalError as JournalError
from pipelines.journal.run import LimitReached as LimitReached
from pipelines.journal.run import Record as Record
from pipelines.journal.run import records_of as records_of
from pipelines.journal.spent import Limits as Limits
from pipelines.journal.spent import Spent as Spent
from pipelines.journal.spent import total as total

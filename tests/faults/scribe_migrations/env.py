from entresol_eventing.migrate import run
from sqlalchemy import MetaData

run(MetaData())

"""What is remembered between runs: favourites, settings, models of conversations, history."""

from modelbay.state.favorites import FavoriteView as FavoriteView
from modelbay.state.places import open_store as open_store
from modelbay.state.records import Conversation as Conversation
from modelbay.state.records import ConversationModel as ConversationModel
from modelbay.state.records import Found as Found
from modelbay.state.records import NewMessage as NewMessage
from modelbay.state.records import Page as Page
from modelbay.state.records import RememberedModel as RememberedModel
from modelbay.state.records import StoredMessage as StoredMessage
from modelbay.state.rules import Turn as Turn
from modelbay.state.store import StateStore as StateStore

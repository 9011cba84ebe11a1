/**
 * # Rooms, users and other audiences
 *
 * From `koaws`. An audience is a set of connections: `hub.room('lobby')`, `hub.user(7)`, `hub.all()`, `connection.to('lobby')`.
 *
 * @module audiences
 */
export type {
  Audience,
  Delivery,
  HistoryMessage,
  HistoryQuery,
  Member,
  Members,
  PresenceData,
  PresentMember,
  RecordedPosition,
  RecordResult,
  RoomHistory,
} from '../../../lib/index.ts'

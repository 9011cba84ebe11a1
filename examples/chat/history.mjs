// What the hub records, and the messages so far for a page that loads.
import { logOf } from './rooms.mjs'

const HOUR = 60 * 60 * 1000

/** The messages of the rooms and of the users. Lists of users and typing indicators go to rooms without history. */
export const RECORDED = { rooms: logOf('*'), users: true, ttl: HOUR }

/**
 * Returns what a page of a room shows before it connects, and the positions of its rooms. A client that
 * connects with them misses nothing. The empty name is that of the messages to the user.
 */
export async function snapshotOf(hub, room, userId) {
  const log = logOf(room)
  const [inRoom, toUser] = await Promise.all([hub.room(log).history(), hub.user(userId).history()])
  const messages = [...inRoom.messages, ...toUser.messages].map(({ data }) => data)
  return {
    messages: messages.sort((one, other) => one.time - other.time),
    positions: { [log]: inRoom.position, '': toUser.position },
  }
}

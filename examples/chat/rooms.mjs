// Which rooms there are, and who is in them.

export const ROOMS = ['lobby', 'kitchen', 'garden', 'workshop']

/** Who is in a room. Somebody with several tabs is there once. */
export function peopleIn(hub, room) {
  const names = new Map()
  for (const { rooms, userId, state } of hub.localConnections.values()) {
    if (rooms.has(room)) names.set(userId, state.user.name)
  }
  return [...names].map(([id, name]) => ({ id, name }))
}

/** Somebody who has a page open, in whatever room; undefined where there is nobody. */
export function findPerson(hub, id) {
  for (const { userId, state } of hub.localConnections.values()) {
    if (userId === id) return { id, name: state.user.name }
  }
}

// The rooms, and their users on all instances.

export const ROOMS = ['lobby', 'kitchen', 'garden', 'workshop']

/** Every page is in two rooms of the hub: this one gets the messages, which are recorded. */
export const logOf = (room) => `log:${room}`

/** Returns the users in a room, sorted by name. A user with several tabs is listed once. */
export async function peopleIn(hub, room) {
  const members = await hub.room(room).members()
  const names = new Map(members.map(({ userId, info }) => [userId, info.name]))
  const people = [...names].map(([id, name]) => ({ id, name }))
  return people.sort((a, b) => (sortKeyOf(a) < sortKeyOf(b) ? -1 : 1))
}

/** Returns a user with an open page in any room, or undefined. */
export async function findPerson(hub, id) {
  const [member] = await hub.user(id).members()
  return member && { id, name: member.info.name }
}

function sortKeyOf({ id, name }) {
  return `${name} ${id}`
}

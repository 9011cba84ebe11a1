// Which rooms there are, and who is in them, on whatever instance.

export const ROOMS = ['lobby', 'kitchen', 'garden', 'workshop']

/** Who is in a room, always in the same order. Somebody with several tabs is there once. */
export async function peopleIn(hub, room) {
  const members = await hub.room(room).members()
  const names = new Map(members.map(({ userId, info }) => [userId, info.name]))
  const people = [...names].map(([id, name]) => ({ id, name }))
  return people.sort((a, b) => (sortKeyOf(a) < sortKeyOf(b) ? -1 : 1))
}

/** Somebody who has a page open, in whatever room; undefined where there is nobody. */
export async function findPerson(hub, id) {
  const [member] = await hub.user(id).members()
  return member && { id, name: member.info.name }
}

function sortKeyOf({ id, name }) {
  return `${name} ${id}`
}

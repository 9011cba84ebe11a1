// Tells the pages who is where.
import { peopleIn, ROOMS } from './rooms.mjs'

/** How often to look whether that is still true, in milliseconds. */
const LOOK = 2_000

/**
 * Makes the function to call when somebody has come to a room or left it. To the room goes who is in it,
 * and to everybody how many there are in each.
 *
 * With several instances there is more to it: the answers of one may arrive after what another has told
 * since, and one that dies tells nothing. So each looks again, and tells its own pages what has changed.
 */
export function createWhoIsThere(hub, chat) {
  const news = new Set() // rooms where somebody came or went
  const told = new Map() // what was told of each room last, as JSON
  let isAsking = false

  setInterval(look, LOOK).unref()

  function changed(room) {
    news.add(room)
    if (!isAsking) void tell()
  }

  /** However many come in one moment: they are told of once. */
  async function tell() {
    while (news.size > 0) {
      const fresh = new Set(news)
      news.clear()
      const rooms = await ask()
      for (const { name, people } of rooms) {
        if (isNew(name, people) || fresh.has(name)) chat.room(hub, name).push('members', people)
      }
      chat.audience(hub.all()).push('rooms', rooms.map(countOf))
    }
  }

  async function look() {
    if (isAsking) return
    const rooms = await ask()
    const others = rooms.filter(({ name, people }) => isNew(name, people))
    for (const { name, people } of others) {
      chat.room(hub, name).local().push('members', people)
    }
    if (others.length > 0) chat.audience(hub.all().local()).push('rooms', rooms.map(countOf))
    void tell()
  }

  async function ask() {
    isAsking = true
    const rooms = await Promise.all(
      ROOMS.map(async (name) => ({ name, people: await peopleIn(hub, name) })),
    )
    isAsking = false
    return rooms
  }

  function isNew(name, people) {
    const json = JSON.stringify(people)
    if (told.get(name) === json) return false
    told.set(name, json)
    return true
  }

  return changed
}

function countOf({ name, people }) {
  return { name, people: people.length }
}

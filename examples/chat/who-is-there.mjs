// Sends the user lists of all rooms to the pages.
import { peopleIn, ROOMS } from './rooms.mjs'

/** How often to query the lists again, in milliseconds. */
const LOOK = 2_000

/**
 * Returns the function to call when a user has entered or left a room. The room gets its list of users, and
 * every page the number of users per room.
 *
 * With several instances, a list may be overtaken by the list of another instance, and an instance that is
 * killed sends no update. So each instance queries again and sends the changes to its own pages.
 */
export function createWhoIsThere(hub, chat) {
  const news = new Set() // rooms with changes
  const told = new Map() // the last list sent per room, as JSON
  let isAsking = false

  setInterval(look, LOOK).unref()

  function changed(room) {
    news.add(room)
    if (!isAsking) void tell()
  }

  /** Sends all changes of one moment as one list. */
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

// One script for both pages: the login form and the room.
const $ = (selector) => document.querySelector(selector)

const match = /^\/rooms\/([^/]+)$/.exec(location.pathname)
if (match) showRoom(decodeURIComponent(match[1]))
else showLogin()

// ---- Login

function showLogin() {
  $('#login').hidden = false
  const form = $('#login form')
  const error = $('#login .error')
  const room = new URLSearchParams(location.search).get('room')
  if (room) form.elements.room.value = room
  form.elements.name.focus()
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    error.textContent = ''
    try {
      const response = await fetch('/login', {
        method: 'POST',
        body: new URLSearchParams(new FormData(form)),
      })
      if (response.ok)
        location.assign(response.url) // the room, where the server redirected to
      else error.textContent = await response.text()
    } catch {
      error.textContent = 'The server does not answer. Please try again.'
    }
  })
}

// ---- Room

function showRoom(room) {
  const FIRST_DELAY = 500
  const MAX_DELAY = 15_000
  const TYPING = 3_000 // for so long "is typing" is shown; told a little more often
  const loginUrl = `/login?room=${room}`
  const url = `${location.origin.replace('http', 'ws')}${location.pathname}/socket`
  const log = $('#log')
  const input = $('#text')
  const to = $('#to')
  const typing = new Map() // timers, by the id of a user
  let toldTyping = 0
  let socket
  let timer
  let delay = FIRST_DELAY // grows with every attempt that fails
  let me
  let members

  document.title = `${room} – Chat`
  $('#chat').hidden = false
  $('#chat h1').textContent = room
  $('#chat form').addEventListener('submit', say)
  $('#logout').addEventListener('click', logOut)
  input.addEventListener('input', tellTyping)
  $('#retry').addEventListener('click', retryNow)
  addEventListener('online', retryNow)
  input.focus()
  connect()

  function connect() {
    clearTimeout(timer)
    let opened = false
    showState('connecting', 'Connecting …')
    socket = new WebSocket(url)
    socket.addEventListener('open', () => {
      opened = true
      showState('open', 'Connected')
      showError('')
    })
    socket.addEventListener('message', ({ data }) => receive(JSON.parse(data)))
    socket.addEventListener('close', async ({ code, reason }) => {
      // A page cannot see why an upgrade was rejected, so it asks whether it is still logged in.
      const loggedOut = code === 4401 || (!opened && (await isLoggedOut()))
      if (loggedOut) showLoggedOut()
      else waitAndConnect(reason)
    })
  }

  function waitAndConnect(reason) {
    // A server that restarts tells each page a time of its own, so that not all come back at once.
    const told = /^restart, retry in (\d+) ms$/.exec(reason)?.[1]
    const wait = told ? Number(told) : delay * (0.75 + Math.random() / 2)
    delay = Math.min(delay * 2, MAX_DELAY)
    showState('waiting', `Disconnected. Next try in ${Math.ceil(wait / 1000)} s …`)
    timer = setTimeout(connect, wait)
  }

  function retryNow() {
    if ($('#state').dataset.state === 'waiting') connect()
  }

  async function isLoggedOut() {
    try {
      const response = await fetch(location.pathname, { redirect: 'manual', cache: 'no-store' })
      return response.type === 'opaqueredirect'
    } catch {
      return false // the server does not answer
    }
  }

  function showLoggedOut() {
    showState('stopped', 'Logged out')
    showError('You are not logged in any more. ')
    const link = document.createElement('a')
    link.href = loginUrl
    link.textContent = 'Log in'
    $('#chat .error').append(link)
  }

  function receive(message) {
    if (message.type === 'welcome') {
      me = message.id
      delay = FIRST_DELAY
    } else if (message.type === 'rooms') showRooms(message.rooms)
    else if (message.type === 'members') showMembers(message.members)
    else if (message.type === 'typing') showTyping(message.id)
    else if (message.type === 'said') addMessage(message)
    else if (message.type === 'error') showError(message.text)
  }

  function say(event) {
    event.preventDefault()
    input.focus()
    const text = input.value.trim()
    if (text === '') return
    if (socket.readyState === WebSocket.OPEN) {
      socket.send(JSON.stringify({ type: 'say', text, to: to.value }))
      input.value = ''
      toldTyping = 0
      showError('')
    } else {
      showError('Not connected: the message was not sent.')
    }
  }

  function tellTyping() {
    const now = Date.now()
    if (to.value || socket.readyState !== WebSocket.OPEN || now - toldTyping < TYPING / 2) return
    toldTyping = now
    socket.send('{"type":"typing"}')
  }

  async function logOut() {
    try {
      await fetch('/logout', { method: 'POST' })
      location.assign(loginUrl)
    } catch {
      showError('The server does not answer. Please try again.')
    }
  }

  // ---- What is shown. Text of others goes in as textContent only, never as HTML.

  function showState(state, text) {
    $('#state').dataset.state = state
    $('#state').textContent = text
    $('#retry').hidden = state !== 'waiting'
  }

  function showError(text) {
    $('#chat .error').textContent = text
  }

  function showMembers(present) {
    if (members) {
      for (const { name } of without(present, members)) addNotice(`${name} joined`)
      for (const { name } of without(members, present)) addNotice(`${name} left`)
    }
    members = present
    $('#members').replaceChildren(
      ...present.map(({ id, name }) => element('li', id === me ? `${name} (you)` : name)),
    )
    showReceivers()
    listTyping()
  }

  /** Whom a message is for; whoever was chosen stays chosen. */
  function showReceivers() {
    const chosen = to.value
    const others = members.filter(({ id }) => id !== me)
    to.replaceChildren(
      new Option('Everybody', ''),
      ...others.map((one) => new Option(one.name, one.id)),
    )
    if (others.some(({ id }) => id === chosen)) to.value = chosen
    else if (chosen) showError('This person has left: messages go to everybody now.')
  }

  function showRooms(rooms) {
    const links = $('#rooms')
    const focused = document.activeElement?.closest('#rooms a')?.getAttribute('href')
    links.replaceChildren(
      ...rooms.map(({ name, count }) => {
        const link = element('a', `${name} ${count}`)
        link.href = `/rooms/${name}`
        link.ariaLabel = `${name}, ${count} ${count === 1 ? 'connection' : 'connections'}`
        if (name === room) link.ariaCurrent = 'page'
        const item = element('li')
        item.append(link)
        return item
      }),
    )
    if (focused) links.querySelector(`[href="${focused}"]`)?.focus()
  }

  function showTyping(id) {
    clearTimeout(typing.get(id))
    typing.set(id, setTimeout(stopTyping, TYPING, id))
    listTyping()
  }

  function stopTyping(id) {
    clearTimeout(typing.get(id))
    if (typing.delete(id)) listTyping()
  }

  function listTyping() {
    const names = members.filter(({ id }) => typing.has(id)).map(({ name }) => name)
    $('#typing').textContent =
      names.length > 0 ? `${names.join(', ')} ${names.length > 1 ? 'are' : 'is'} typing …` : ''
  }

  function without(people, others) {
    return people.filter(({ id }) => !others.some((other) => other.id === id))
  }

  function addMessage({ id, name, said, to }) {
    if (!to) stopTyping(id)
    const item = element('li')
    item.className = `message${id === me ? ' mine' : ''}${to ? ' private' : ''}`
    const time = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    const from = to ? `${name}, only to ${id === me ? to : 'you'}` : name
    item.append(element('b', from), ' ', element('time', time), element('p', said))
    addItem(item)
  }

  function addNotice(text) {
    const item = element('li', text)
    item.className = 'notice'
    addItem(item)
  }

  function addItem(item) {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40
    log.append(item)
    if (log.children.length > 500) log.firstChild.remove()
    if (atEnd) log.scrollTop = log.scrollHeight
  }

  function element(name, text = '') {
    const made = document.createElement(name)
    made.textContent = text
    return made
  }
}

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
  const url = `${location.origin.replace('http', 'ws')}${location.pathname}/socket`
  const log = $('#log')
  const input = $('#text')
  let socket
  let timer
  let delay = FIRST_DELAY // grows with every attempt that fails
  let me
  let members

  document.title = `${room} – Chat`
  $('#chat').hidden = false
  $('#chat h1').textContent = room
  $('#chat a').search = new URLSearchParams({ room })
  $('#chat form').addEventListener('submit', say)
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
    socket.addEventListener('close', async ({ code }) => {
      // A page cannot see why an upgrade was rejected, so it asks whether it is still logged in.
      const loggedOut = code === 4401 || (!opened && (await isLoggedOut()))
      if (loggedOut) showLoggedOut()
      else waitAndConnect()
    })
  }

  function waitAndConnect() {
    const wait = delay * (0.75 + Math.random() / 2) // so that not all pages come back at once
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
    link.href = $('#chat header a').href
    link.textContent = 'Log in'
    $('#chat .error').append(link)
  }

  function receive(message) {
    if (message.type === 'welcome') {
      me = message.id
      delay = FIRST_DELAY
    } else if (message.type === 'members') showMembers(message.members)
    else if (message.type === 'said') addMessage(message)
    else if (message.type === 'error') showError(message.text)
  }

  function say(event) {
    event.preventDefault()
    input.focus()
    const text = input.value.trim()
    if (text === '') return
    if (socket.readyState === WebSocket.OPEN) {
      socket.send(text)
      input.value = ''
      showError('')
    } else {
      showError('Not connected: the message was not sent.')
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
  }

  function without(people, others) {
    return people.filter(({ id }) => !others.some((other) => other.id === id))
  }

  function addMessage({ id, name, said }) {
    const item = element('li')
    item.className = id === me ? 'message mine' : 'message'
    const time = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    item.append(element('b', name), ' ', element('time', time), element('p', said))
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

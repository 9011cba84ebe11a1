// The login form: a rejection by the server is shown beside the field.
const form = document.querySelector('form')
const error = document.querySelector('#error')
const { name, room } = form.elements

room.value = new URLSearchParams(location.search).get('room') || room.value
document.querySelector('#room').textContent = room.value
form.addEventListener('submit', logIn)
name.addEventListener('input', () => showError(''))
name.focus()

async function logIn(event) {
  event.preventDefault()
  showError('')
  try {
    const body = new URLSearchParams(new FormData(form))
    const response = await fetch('/login', { method: 'POST', body })
    // The server redirected to the room.
    if (response.ok) location.assign(response.url)
    else showError(await response.text())
  } catch {
    showError('The server does not answer. Please try again.')
  }
}

function showError(text) {
  error.textContent = text
  name.ariaInvalid = String(text !== '')
  if (text) name.focus()
}

import { execFileSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const made = new Map<string, { key: string; cert: string }>()

/** The files of a certificate for localhost, made once for each test run and owner. */
export function selfSigned(owner = 'the server'): { key: string; cert: string } {
  const known = made.get(owner)
  if (known) return known
  const folder = mkdtempSync(join(tmpdir(), 'koaws-'))
  const key = join(folder, 'key.pem')
  const cert = join(folder, 'cert.pem')
  const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1'
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
      ...['-addext', names, '-keyout', key, '-out', cert],
    ],
    { stdio: 'ignore' },
  )
  made.set(owner, { key, cert })
  return { key, cert }
}

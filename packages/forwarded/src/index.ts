/** `@wakerobin/forwarded`: who the client is, as trusted proxies say. */

export { forwarded, type ForwardedOptions, type ForwardingHeader } from './forwarded.ts'

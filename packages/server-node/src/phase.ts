/** Where a server is in its life.
 *
 * `running`; `draining`: the stop has begun, everything is still served; `stopping`: nothing new comes in,
 * what is open ends; `closing`: what the app has opened is closed; `done`. */
export type Phase = 'running' | 'draining' | 'stopping' | 'closing' | 'done'

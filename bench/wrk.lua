-- wrk -s wrk.lua URL -- FIRST FILE…
-- Each FILE is a whole HTTP request; they are sent in turn. Twelve @ stand for a number that counts up from FIRST.
local requests, threads, at, number = {}, {}, 0, 0
refused = 0

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  number = tonumber(args[1])
  for i = 2, #args do
    local file = assert(io.open(args[i], 'rb'))
    local text = file:read('*a')
    file:close()
    local from, to = text:find('@@@@@@@@@@@@', 1, true)
    requests[#requests + 1] = from and { text:sub(1, from - 1), text:sub(to + 1) } or text
    -- What changes something may be refused with status 200; to look at answers would slow down the others.
    response = from and look
  end
end

function look(_, _, body)
  if body:find('"errors"', 1, true) then refused = refused + 1 end
end

function request()
  at = at % #requests + 1
  local found = requests[at]
  if type(found) == 'string' then return found end
  number = number + 1
  return found[1] .. string.format('%12d', number) .. found[2]
end

function done(summary, latency)
  local e = summary.errors
  for _, thread in ipairs(threads) do refused = refused + thread:get('refused') end
  io.write(string.format('{"requests": %d, "seconds": %f, "failed": %d, "p99": %f}\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout + refused,
    latency:percentile(99) / 1000))
end

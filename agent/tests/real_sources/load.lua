-- Requests with ids from 1: every path, host, referrer and client that a log must survive.
local n = 0
local agents = {
  "curl/8.5.0",
  'quote"back\\slash',
  "\195\156nic\195\182de \230\151\165\230\156\172",
  "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
}
local paths = { "/", "/gone/%d", "/a/b.js", "/caf%%C3%%A9/x%%20y" }
request = function()
  n = n + 1
  wrk.headers["Host"] = "shop-" .. (n % 7) .. ".example"
  wrk.headers["User-Agent"] = agents[n % 4 + 1]
  wrk.headers["Referer"] = "https://example.com/p/" .. (n % 50) .. (n % 3 == 0 and '?q="a\\b"' or "")
  local path = string.format(paths[n % 5 % 4 + 1], n)
  return wrk.format("GET", path .. "?id=" .. n .. "&q=%22x%22")
end

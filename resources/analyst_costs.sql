-- What accepted messages cost, summed at publishing from the tallies of the files (`analyst_tallies.sql`). `days` is of
-- `analyst_funnels.sql`.

INSERT INTO costs BY NAME
SELECT campaign, day, market, category, sum(n) AS messages, sum(price) AS price, currency, price_source
FROM tallies JOIN days USING (quarter)
WHERE what = 'accepted'
GROUP BY ALL
ORDER BY campaign, day, market, category, currency, price_source;
